/**
 * Random histories: a room that behaves as the real one does (frames that come twice or with more behind them, answers that
 * take their time, a log that ends, a memory that is lost) on a network that breaks at any moment. Whatever happens, what was
 * said is heard once, in order, and without a gap but where the room begins anew; and in the end the screen shows the room.
 * `SEED=n` repeats one history, `HISTORIES=n` plays more.
 */

import assert from 'node:assert/strict';
import test from 'node:test';

import { chat, init, product, randomOf, stage } from './fakes.js';

const HISTORIES = Number(process.env.HISTORIES ?? 150);
const STEPS = 120;
const RECENT = 5;

/** The other end. */
class FakeRoom {
  #it;
  #random;
  #logLength;
  #seq = 1_000_000;
  #memories = 0;
  /** @type {{ seq: number, event: any }[]} */
  #log = [];
  /** Which socket has had what. */
  #cursors = new Map();
  chats = [];
  likes = 0;
  left = 1_000;
  version = 1;

  constructor(it, random, logLength) {
    this.#it = it;
    this.#random = random;
    this.#logLength = logLength;
  }

  #append(event) {
    this.#seq += 1;
    this.#log.push({ seq: this.#seq, event });
    this.#log.splice(0, this.#log.length - this.#logLength);
  }

  happen() {
    const dice = this.#random();
    if (dice < 0.6) {
      const said = chat(`${this.chats.length + 1}`);
      this.chats.push(said);
      this.#append(said);
    } else if (dice < 0.8) {
      this.likes += 1;
      this.#append({ type: 'like_count', count: this.likes });
    } else {
      this.left -= 1;
      this.version += 1;
      this.#append({ type: 'inventory_update', product_id: 'p1', remaining: this.left, version: this.version });
    }
  }

  body() {
    return {
      seq: this.#seq,
      like_count: this.likes,
      chat_count: this.chats.length,
      recent_chat: this.chats.slice(-RECENT),
      products: [product({ remaining: this.left, version: this.version })],
    };
  }

  /** Everyone is forgotten. The sequence goes on somewhere else, higher or lower, where it has never been. */
  forget() {
    this.#log = [];
    this.#cursors.clear();
    this.#memories += 1;
    this.#seq = 10_000 * (this.#random() < 0.5 ? 100 + this.#memories : 100 - this.#memories);
  }

  accept(socket) {
    socket.onsend = (message) => {
      if (message.type === 'ping') {
        this.#later(socket, () => this.#cursors.has(socket) && socket.frame(this.#cursors.get(socket).joined, { type: 'pong' }));
      } else if (message.type === 'join') {
        this.#later(socket, () => this.#join(socket, message.last_seq));
      }
    };
    socket.accept();
  }

  #join(socket, seen) {
    const missed = this.#log.filter(({ seq }) => seq > seen);
    if (seen <= this.#seq && missed.length === this.#seq - seen) {
      const leave = { type: 'reconnect', at: new Date(this.#it.clock.now() + 6_000_000).toISOString() };
      socket.frame(this.#seq, ...missed.map(({ event }) => event), ...(this.#random() < 0.5 ? [leave] : []));
    } else {
      socket.frame(this.#seq, init(this.#it.clock, this.body()));
    }
    this.#cursors.set(socket, { joined: this.#seq, seen: this.#seq });
  }

  /** One frame to each, sometimes twice, sometimes lost, sometimes believed lost. */
  pump() {
    for (const [socket, cursor] of this.#cursors) {
      const news = this.#log.filter(({ seq }) => seq > cursor.seen);
      if (socket.readyState !== 1) {
        this.#cursors.delete(socket);
      } else if (news.length < this.#seq - cursor.seen) {
        // Too slow: it has to come again.
        socket.drop();
      } else if (news.length > 0 && this.#random() > 0.1) {
        const times = this.#random() < 0.2 ? 2 : 1;
        for (let n = 0; n < times; n += 1) {
          socket.frame(this.#seq, ...news.map(({ event }) => event));
        }
        cursor.seen = this.#random() < 0.1 ? cursor.seen : this.#seq;
      }
    }
  }

  #later(socket, call) {
    this.#it.clock.setTimeout(() => socket.readyState === 1 && call(), this.#random() * 300);
  }
}

async function play(seed, logLength, forgets) {
  const random = randomOf(seed);
  const it = stage({ random, recentChat: RECENT, backoffBaseMs: 200, joinTimeoutMs: 1_000, pongTimeoutMs: 1_000 });
  const server = new FakeRoom(it, random, logLength);
  let opened = 0;
  const accept = () => {
    for (; opened < it.sockets.length; opened += 1) {
      const socket = it.sockets[opened];
      it.clock.setTimeout(() => {
        if (socket.readyState === 0) {
          if (random() < 0.2) socket.drop();
          else server.accept(socket);
        }
      }, random() * 400);
    }
  };
  /** What was heard, in pieces: each begins where the room was taken over as it is. */
  const pieces = [];
  it.room.on('init', ({ chat_count }) => pieces.push({ from: chat_count, heard: [] }));
  it.room.on('chat', ({ id }) => pieces.at(-1).heard.push(Number(id)));
  it.room.connect();
  for (let step = 0; step < STEPS; step += 1) {
    const dice = random();
    const open = it.sockets.filter((socket) => socket.readyState === 1);
    if (dice < 0.5) server.happen();
    else if (dice < 0.75) server.pump();
    else if (dice < 0.83) open.forEach((socket) => random() < 0.5 && socket.drop());
    else if (dice < 0.86) open.at(-1)?.frame(1, { type: 'reconnect', at: new Date(it.clock.now()).toISOString() });
    else if (dice < 0.88) it.network.dispatchEvent(new Event('offline'));
    else if (dice < 0.9) it.network.dispatchEvent(new Event('online'));
    else if (dice < 0.91 && forgets) server.forget();
    accept();
    // Now and then long enough that the room may ask a viewer to leave.
    await it.clock.pass(random() * (random() < 0.1 ? 90_000 : 300));
  }
  // The network holds, and the room comes to rest.
  it.network.dispatchEvent(new Event('online'));
  server.happen();
  for (let quiet = 0; quiet < 400; quiet += 1) {
    accept();
    server.pump();
    await it.clock.pass(1_000);
  }
  return { it, server, pieces };
}

const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: HISTORIES }, (_, n) => n + 1);

for (const [what, logLength, forgets] of [
  ['a log that keeps everything: nothing is missed', Infinity, false],
  ['a log that ends and a memory that is lost: what is missed is told', 6, true],
]) {
  test(what, async () => {
    let resets = 0;
    for (const seed of seeds) {
      const { it, server, pieces } = await play(seed, logLength, forgets);
      const told = `SEED=${seed}`;
      const { state } = it.room;
      assert.equal(state.status, 'online', told);
      for (const [n, { from, heard }] of pieces.entries()) {
        const whole = heard.map((_, index) => from + 1 + index);
        assert.deepEqual(heard, whole, `${told}: piece ${n} begins after ${from}`);
        assert.ok(n === 0 || from >= pieces[n - 1].from + pieces[n - 1].heard.length, `${told}: piece ${n} goes back`);
      }
      assert.equal(it.resets.length, pieces.length - 1, told);
      assert.ok(forgets || it.resets.length === 0, `${told}: something was missed`);
      const last = pieces.at(-1);
      assert.equal(last.from + last.heard.length, server.chats.length, `${told}: the end is not heard`);
      const body = server.body();
      assert.deepEqual(
        [state.like_count, state.chat_count, state.recent_chat, [...state.products.values()]],
        [body.like_count, body.chat_count, body.recent_chat, body.products],
        `${told}: the screen is not the room`,
      );
      resets += it.resets.length;
    }
    assert.ok(!forgets || seeds.length === 1 || resets > seeds.length / 2, 'histories without a reset show little');
  });
}
