import assert from 'node:assert/strict';
import test from 'node:test';

import { MAX_CHAT } from './index.js';
import { chat, init, randomOf, stage } from './fakes.js';

const pong = { type: 'pong' };
const refused = { type: 'error', code: 'invalid_request', detail: '…' };
const ids = (told) => told.filter((event) => event.type === 'chat').map((event) => event.id);
const types = (told) => told.map((event) => event.type);

test('it comes with its token, joins, and has the room', async () => {
  const it = stage();
  await it.enter(10, { viewer_count: 4 });
  assert.equal(it.socket.url.href, 'wss://room.example/live?token=secret&broadcast_id=b1');
  assert.deepEqual(it.socket.sent, [{ type: 'join' }]);
  assert.deepEqual([it.room.state.seq, it.room.state.viewer_count, it.room.state.status], [10, 4, 'online']);
  assert.deepEqual([types(it.told), it.resets], [['init'], []]);
});

test('who is put out stays out, and who was only refused comes back', async () => {
  const forbidden = { type: 'error', code: 'forbidden', detail: '…' };
  const it = stage();
  await it.enter(10);
  it.socket.frame(10, forbidden);
  await it.clock.pass(5_000);
  it.socket.drop();
  await it.back();
  it.socket.frame(12, chat(12));
  assert.equal(it.room.state.status, 'online');
  it.socket.frame(0, forbidden);
  it.socket.drop();
  assert.deepEqual(it.statuses.at(-1), { status: 'closed', reason: 'forbidden' });
  await it.clock.pass(120_000);
  assert.equal(it.sockets.length, 2);
});

test('a token is asked for anew at each connect, and again if there is none', async () => {
  const tokens = ['first', new Error('the shop is down'), 'second'];
  const it = stage({
    token: async () => {
      const token = tokens.shift();
      if (token instanceof Error) throw token;
      return token;
    },
  });
  await it.enter();
  it.socket.drop();
  await it.back();
  assert.deepEqual(it.sockets.map((socket) => socket.url.searchParams.get('token')), ['first', 'second']);
  assert.equal(it.statuses.find((change) => change.error)?.error.message, 'the shop is down');
});

test('an event is told once and in order, whatever comes twice', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.frame(12, chat(11), chat(12));
  it.socket.frame(12, chat(11), { type: 'like_count', count: 9 });
  it.socket.frame(11, chat(11));
  // The server took the next frame for lost, so it comes with more behind it.
  it.socket.frame(13, chat(13));
  it.socket.frame(15, chat(13), chat(14), { type: 'like_count', count: 3 });
  assert.deepEqual(types(it.told), ['init', 'chat', 'chat', 'chat', 'chat', 'like_count']);
  assert.deepEqual(ids(it.told), ['11', '12', '13', '14']);
  assert.deepEqual([it.room.state.seq, it.room.state.chat_count, it.room.state.like_count], [15, 4, 3]);
});

test('what is said to this viewer alone is always told, and never moves the sequence', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.frame(20, chat(11));
  it.socket.frame(10, refused);
  it.socket.frame(20, pong);
  it.socket.frame(30, refused);
  it.socket.frame(21, chat(21));
  assert.deepEqual(types(it.told), ['init', 'chat', 'error', 'pong', 'error', 'chat']);
  assert.equal(it.room.state.seq, 21);
});

test('who comes back goes on where it was', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.frame(12, chat(12));
  it.socket.drop();
  await it.back();
  assert.deepEqual(it.socket.sent, [{ type: 'join', last_seq: 12 }]);
  it.socket.frame(14, chat(13), chat(14));
  it.socket.frame(15, chat(15));
  assert.deepEqual([ids(it.told), it.resets], [['12', '13', '14', '15'], []]);
});

test('who missed nothing is back with an empty answer, and one of answers alone is one', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.drop();
  await it.back();
  it.socket.frame(10);
  assert.equal(it.room.state.status, 'online');
  it.socket.drop();
  await it.back();
  it.socket.frame(11, refused);
  assert.deepEqual([it.room.state.status, it.room.state.seq], ['online', 11]);
});

test('a room that lost its memory begins anew, even with a lower number', async () => {
  const it = stage();
  await it.enter(1_000);
  it.socket.frame(1_001, chat('old'));
  it.socket.drop();
  await it.back();
  const again = init(it.clock, { seq: 5, recent_chat: [chat('new')] });
  it.socket.frame(5, again);
  assert.deepEqual(it.resets, [{ seen: 1_001, seq: 5 }]);
  assert.deepEqual(it.room.state.recent_chat.map((said) => said.id), ['new']);
  it.socket.frame(6, chat(6));
  it.socket.frame(5, again);
  assert.deepEqual([it.room.state.seq, it.resets.length, ids(it.told)], [6, 1, ['old', '6']], 'the same init twice is one');
});

test('the room itself is taken over even where it was left', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.drop();
  await it.back();
  it.socket.frame(10, init(it.clock, { seq: 10, viewer_count: 7 }));
  assert.deepEqual([it.room.state.viewer_count, it.resets], [7, [{ seen: 10, seq: 10 }]]);
});

test('what is said to this viewer alone before the answer to the join is not the answer', async () => {
  const it = stage();
  await it.enter(10);
  it.socket.drop();
  await it.back();
  it.socket.frame(0, refused);
  assert.deepEqual([it.room.state.status, it.room.chat('hello')], ['connecting', false]);
  it.socket.frame(10);
  assert.deepEqual([it.room.state.status, it.room.chat('hello')], ['online', true]);
});

test('who asks in vain for what was missed begins anew', async () => {
  const it = stage({ joinTimeoutMs: 50 });
  await it.enter(10);
  it.socket.drop();
  const joins = [];
  for (let n = 0; n < 4; n += 1) {
    await it.back();
    joins.push(it.socket.sent[0].last_seq);
  }
  assert.deepEqual(joins, [10, 10, 10, undefined]);
  it.socket.frame(20, init(it.clock, { seq: 20 }));
  it.socket.drop();
  await it.back();
  assert.deepEqual([it.resets, it.socket.sent[0].last_seq], [[{ seen: 10, seq: 20 }], 20]);
});

test('events of a newer server are told; what is no frame is not', async () => {
  const it = stage();
  await it.enter(10);
  const heard = [];
  it.room.on('fireworks', (event) => heard.push(event));
  it.socket.onmessage({ data: '{"message":"Internal server error","connectionId":"x"}' });
  it.socket.onmessage({ data: 'no JSON' });
  it.socket.onmessage({ data: '{"type":"frame","seq":"11","events":[]}' });
  it.socket.frame(11, { type: 'fireworks', colour: 'red' });
  assert.deepEqual(heard, [{ type: 'fireworks', colour: 'red' }]);
});

test('waits are random up to a bound that doubles, and begin anew after a stable connection', async () => {
  const it = stage({ random: () => 1, backoffBaseMs: 100, backoffCapMs: 1_000, stableMs: 5_000 });
  it.room.connect();
  await it.clock.pass(0);
  for (let n = 0; n < 6; n += 1) {
    it.socket.drop();
    await it.clock.pass(1_000);
  }
  it.socket.accept();
  it.socket.frame(1, init(it.clock, { seq: 1 }));
  it.socket.drop();
  await it.back();
  it.socket.frame(1);
  await it.clock.pass(5_000);
  it.socket.drop();
  const waits = it.statuses.filter((change) => change.status === 'waiting').map((change) => change.retryInMs);
  assert.deepEqual(waits, [100, 200, 400, 800, 1_000, 1_000, 1_000, 100]);
});

test('those who are dropped together come back apart', async () => {
  const random = randomOf(7);
  const waits = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const it = stage({ random, backoffBaseMs: 1_000 });
      await it.enter();
      it.socket.drop();
      return it.statuses.at(-1).retryInMs;
    }),
  );
  const early = waits.filter((wait) => wait < 500).length;
  assert.ok(waits.every((wait) => wait >= 0 && wait < 1_000) && early > 70 && early < 130, `${early} of 200 in the first half`);
});

test('a socket that does not open, a join that is not answered and a ping without a pong are given up', async () => {
  const it = stage();
  it.room.connect();
  await it.clock.pass(20_000);
  assert.deepEqual([it.sockets.length, it.sockets[0].readyState], [2, 3]);
  it.socket.accept();
  await it.clock.pass(13_000);
  assert.equal(it.sockets.length, 3);
  it.socket.accept();
  it.socket.frame(1, init(it.clock, { seq: 1, heartbeat_s: 5 }));
  await it.clock.pass(5_000);
  assert.deepEqual(it.socket.sent.at(-1), { type: 'ping' });
  it.socket.frame(1, pong);
  // Other frames are no pong: a room that has forgotten this viewer answers nothing.
  await it.clock.pass(6_000);
  it.socket.frame(2, chat(2));
  await it.clock.pass(9_500);
  const reasons = it.statuses.filter((change) => change.status === 'waiting').map((change) => change.reason);
  assert.deepEqual(reasons, ['no connection', 'no answer to the join', 'no pong']);
});

test('before its time is over another connection takes its place, without a gap', async () => {
  const it = stage({ pongTimeoutMs: Infinity });
  await it.enter(10);
  const [first] = it.sockets;
  await it.clock.pass(6_000_000 - 1);
  assert.equal(it.sockets.length, 1);
  it.statuses.length = 0;
  await it.clock.pass(1);
  assert.equal(it.sockets.length, 2);
  first.frame(12, chat(11), chat(12));
  assert.equal(first.closedWith, undefined, 'it stays until the other is open');
  it.socket.accept();
  assert.equal(first.closedWith, 1000);
  first.frame(13, chat(13));
  assert.equal(it.room.state.seq, 12);
  assert.deepEqual(it.socket.sent, [{ type: 'join', last_seq: 12 }]);
  it.socket.frame(14, chat(13), chat(14));
  assert.deepEqual(ids(it.told), ['11', '12', '13', '14']);
  assert.deepEqual(it.statuses.map((change) => change.status), ['online'], 'nobody saw it leave');
});

test('a connection that could not be replaced stays, and the replacing is tried again', async () => {
  const it = stage();
  await it.enter(10);
  await it.clock.pass(60_000);
  it.socket.frame(10, { type: 'reconnect', at: new Date(it.clock.now() + 5_000).toISOString() });
  const [first] = it.sockets;
  await it.clock.pass(5_000);
  it.socket.drop();
  first.frame(11, chat(11));
  assert.equal(it.room.state.status, 'online');
  await it.clock.pass(1_000);
  assert.equal(it.sockets.length, 3);
  first.drop();
  assert.equal(it.room.state.status, 'connecting');
  await it.clock.pass(1_000);
  assert.equal(it.sockets.length, 3, 'the one on its way is enough');
  it.socket.accept();
  assert.deepEqual(it.socket.sent, [{ type: 'join', last_seq: 11 }]);
});

test('one try at a time, whoever wants another', async () => {
  const soon = (it) => ({ type: 'reconnect', at: new Date(it.clock.now() + 10).toISOString() });
  const it = stage({ random: () => 1 });
  await it.enter(10);
  await it.clock.pass(60_000);
  const [first] = it.sockets;
  first.frame(10, soon(it));
  await it.clock.pass(10);
  first.frame(10, soon(it));
  await it.clock.pass(10);
  assert.equal(it.sockets.length, 2, 'it is on its way already');
  it.socket.drop();
  first.drop();
  await it.clock.pass(10_000);
  assert.equal(it.sockets.length, 3, 'it waits for its turn already');
});

test('a viewer leaves and comes back when the room says so, at once if that is over', async () => {
  const it = stage({ random: () => 0.25 });
  await it.enter(10);
  await it.clock.pass(60_000);
  it.socket.frame(11, { type: 'reconnect', at: '2020-01-01T00:00:00Z' });
  await it.clock.pass(250);
  assert.equal(it.sockets.length, 2);
  it.socket.accept();
  // What was meant for the connection before, or comes of a wrong clock, drives nobody in and out.
  it.socket.frame(12, chat(12), { type: 'reconnect', at: '2020-01-01T00:00:00Z' });
  await it.clock.pass(60_000);
  assert.deepEqual([it.sockets.length, ids(it.told)], [2, ['12']]);
});

test('a connection that resumes may be told when to leave, with nothing else', async () => {
  const it = stage({ pongTimeoutMs: Infinity });
  await it.enter(10);
  it.socket.drop();
  await it.back();
  it.socket.frame(10, { type: 'reconnect', at: new Date(it.clock.now() + 100_000).toISOString() });
  assert.equal(it.room.state.status, 'online');
  await it.clock.pass(100_000 - 1);
  assert.equal(it.sockets.length, 2);
  await it.clock.pass(1);
  assert.equal(it.sockets.length, 3);
});

test('a wrong clock drives nobody in and out', async () => {
  for (const reconnect_at of ['2020-01-01T00:00:00Z', '2030-01-01T00:00:00Z', 'soon', undefined]) {
    const it = stage({ random: () => 0, pongTimeoutMs: Infinity });
    await it.enter(10, { reconnect_at });
    await it.clock.pass(5_760_000 - 1);
    assert.equal(it.sockets.length, 1, `${reconnect_at}`);
    await it.clock.pass(1);
    assert.equal(it.sockets.length, 2, `${reconnect_at}`);
  }
});

test('a connection that resumes and is told nothing of its end stays as long as the first', async () => {
  const it = stage({ pongTimeoutMs: Infinity });
  await it.enter(10);
  await it.clock.pass(1_000_000);
  it.socket.drop();
  await it.back();
  it.socket.frame(10);
  await it.clock.pass(6_000_000 - 1);
  assert.equal(it.sockets.length, 2);
  await it.clock.pass(1);
  assert.equal(it.sockets.length, 3);
});

test('offline it waits, online it comes back at once', async () => {
  const it = stage();
  await it.enter(10);
  it.network.dispatchEvent(new Event('offline'));
  assert.deepEqual([it.room.state.status, it.socket.closedWith], ['offline', 1000]);
  await it.clock.pass(3_600_000);
  assert.equal(it.sockets.length, 1);
  it.network.dispatchEvent(new Event('online'));
  await it.clock.pass(0);
  it.socket.accept();
  assert.deepEqual(it.socket.sent, [{ type: 'join', last_seq: 10 }]);
});

test('who closes is gone, and may come again', async () => {
  const tokens = [];
  const it = stage({ token: () => new Promise((done) => tokens.push(done)) });
  it.room.connect();
  it.room.close();
  tokens.shift()('too late');
  await it.clock.pass(60_000);
  assert.equal(it.sockets.length, 0);

  it.room.connect();
  it.room.connect();
  tokens.shift()('in time');
  await it.clock.pass(0);
  it.socket.accept();
  const stop = it.room.on('init', () => it.room.close());
  it.socket.frame(10, init(it.clock, { seq: 10 }));
  assert.deepEqual([it.room.state.status, it.socket.closedWith, it.clock.waiting], ['closed', 1000, 0]);
  it.network.dispatchEvent(new Event('online'));
  await it.clock.pass(60_000);
  assert.equal(it.sockets.length, 1);

  it.room.connect();
  tokens.shift()('again');
  await it.clock.pass(0);
  it.socket.accept();
  assert.deepEqual(it.socket.sent, [{ type: 'join', last_seq: 10 }]);
  stop();
  it.socket.frame(10);
  it.room.on('chat', () => it.room.close());
  it.socket.frame(11, chat(11), { type: 'reconnect', at: '2020-01-01T00:00:00Z' });
  assert.deepEqual([it.room.state.seq, it.clock.waiting], [11, 0], 'the frame is told to its end');
});

test('a message is sent as it is, or refused here, never kept for later', async () => {
  const it = stage();
  assert.equal(it.room.chat('too early'), false);
  await it.enter();
  const longest = '🍊'.repeat(MAX_CHAT);
  assert.equal(it.room.chat(longest), true);
  assert.equal(it.room.chat('<b>굵게</b>'), true);
  assert.throws(() => it.room.chat(`${longest}.`), RangeError);
  assert.throws(() => it.room.chat(''), RangeError);
  it.socket.readyState = 2;
  assert.equal(it.room.chat('too late'), false);
  assert.deepEqual(it.socket.sent.slice(1).map((sent) => sent.message), [longest, '<b>굵게</b>']);
});

test('many taps are few messages', async () => {
  const it = stage();
  await it.enter();
  const likes = () => it.socket.sent.filter((sent) => sent.type === 'like').map((sent) => sent.count);
  for (let n = 0; n < 30; n += 1) {
    it.room.like();
  }
  it.room.like(100);
  assert.deepEqual(likes(), [1]);
  await it.clock.pass(199);
  assert.deepEqual(likes(), [1]);
  await it.clock.pass(1_000);
  assert.deepEqual(likes(), [1, 50, 50, 29]);
  it.socket.drop();
  it.room.like(3);
  await it.back();
  it.socket.frame(10);
  assert.deepEqual(likes(), [3], 'they wait for the connection');
  assert.throws(() => it.room.like(0), RangeError);
  it.room.like(10_000);
  await it.clock.pass(10_000);
  assert.equal(likes().reduce((sum, count) => sum + count), 503, 'but not without end');
});

test('a listener that fails keeps nobody else from hearing', async (t) => {
  const failures = [];
  t.mock.method(globalThis, 'queueMicrotask', (report) => failures.push(report));
  const it = stage();
  const heard = [];
  it.room.on('chat', () => {
    throw new Error('oops');
  });
  const stop = it.room.on('chat', (said) => heard.push(said.id));
  await it.enter();
  it.socket.frame(12, chat(11), chat(12));
  assert.deepEqual(heard, ['11', '12']);
  assert.throws(failures[0], /oops/);
  stop();
  it.socket.frame(13, chat(13));
  assert.equal(heard.length, 2);
});
