import assert from 'node:assert/strict';
import test from 'node:test';

import { FakeClock, chat, init, product } from './fakes.js';
import { RoomState } from './state.js';

function roomOf(body) {
  const state = new RoomState(3);
  state.apply(init(new FakeClock(), body));
  return state;
}

const stock = (remaining, version) => ({ type: 'inventory_update', product_id: 'p1', remaining, version });
const spotlight = (body) => ({ type: 'product_spotlight', product: product(body) });

test('an init replaces everything', () => {
  const state = roomOf({ viewer_count: 3, products: [product({ remaining: 7, version: 2 })], pinned: chat('a'), frozen: true, slow_mode_s: 5 });
  state.apply(chat('x'));
  state.apply(init(new FakeClock(), { viewer_count: 1, chat_count: 9, recent_chat: [1, 2, 3, 4].map((n) => chat(n)) }));
  assert.deepEqual([state.viewer_count, state.chat_count, state.products.size], [1, 9, 0]);
  assert.deepEqual([state.pinned, state.frozen, state.slow_mode_s], [null, false, 0]);
  assert.deepEqual(state.recent_chat.map((said) => said.id), ['2', '3', '4']);
});

test('an older number never replaces a newer one', () => {
  const state = roomOf({ products: [product({ remaining: 7, version: 2 })] });
  const left = () => state.products.get('p1').remaining;
  state.apply(stock(5, 4));
  state.apply(stock(6, 3));
  assert.equal(left(), 5);
  state.apply(spotlight({ remaining: 6, live_price: 9_900 }));
  assert.deepEqual([left(), state.products.get('p1').live_price], [5, 9_900], 'a spotlight without a version knows no better');
  state.apply(spotlight({ remaining: 6, version: 3 }));
  assert.equal(left(), 5);
  state.apply(spotlight({ remaining: 9, version: 5 }));
  assert.equal(left(), 9);
});

test('a product comes on air with what its spotlight says, and goes off with its number', () => {
  const state = roomOf({});
  state.apply(stock(4, 1));
  assert.equal(state.products.size, 0, 'a number alone is no product');
  state.apply(spotlight({ remaining: 10 }));
  state.apply(stock(8, 2));
  state.apply({ type: 'product_closed', product_id: 'p1', reason: 'paused' });
  assert.deepEqual([state.products.get('p1').remaining, state.products.get('p1').paused], [8, true]);
  state.apply(spotlight({ remaining: 8 }));
  assert.equal(state.products.get('p1').paused, undefined);
  state.apply({ type: 'product_closed', product_id: 'p1', reason: 'sold_out' });
  assert.ok(state.products.has('p1'), 'units may come back');
  state.apply({ type: 'product_closed', product_id: 'p1', reason: 'ended' });
  assert.equal(state.products.size, 0);
  state.apply(spotlight({ remaining: 3 }));
  assert.equal(state.products.get('p1').remaining, 3, 'another airing begins anew');
});

test('an id that is a word of the language is an id', () => {
  const state = roomOf({ products: [product({ id: '__proto__', remaining: 1, version: 1 })] });
  state.apply({ ...stock(0, 2), product_id: '__proto__' });
  state.apply({ ...stock(0, 2), product_id: 'constructor' });
  assert.deepEqual([state.products.size, state.products.get('__proto__').remaining], [1, 0]);
});

test('chat is kept up to a bound, and what is deleted is gone', () => {
  const state = roomOf({ chat_count: 5 });
  [1, 2, 3, 4].forEach((n) => state.apply(chat(n)));
  assert.deepEqual([state.chat_count, state.recent_chat.map((said) => said.id)], [9, ['2', '3', '4']]);
  state.apply({ type: 'moderation', action: 'pin', target: '3' });
  assert.equal(state.pinned.message, 'hello');
  state.apply({ type: 'moderation', action: 'delete', target: '3' });
  assert.deepEqual([state.pinned, state.recent_chat.map((said) => said.id)], [null, ['2', '4']]);
});

test('the moderator pins, freezes and slows down', () => {
  const state = roomOf({});
  const moderate = (action, target, message) => state.apply({ type: 'moderation', action, target, message });
  moderate('pin', 'long ago');
  assert.deepEqual(state.pinned, { id: 'long ago' });
  moderate('pin', 'a', chat('a', 'long ago'));
  assert.equal(state.pinned.message, 'long ago');
  moderate('pin', null);
  assert.equal(state.pinned, null);
  moderate('freeze');
  moderate('slow_mode', 10);
  assert.deepEqual([state.frozen, state.slow_mode_s], [true, 10]);
  moderate('unfreeze');
  moderate('slow_mode');
  moderate('ban', 'u1');
  assert.deepEqual([state.frozen, state.slow_mode_s], [false, 0]);
});

test('an event of a newer server changes nothing', () => {
  const state = roomOf({});
  const before = structuredClone({ ...state });
  state.apply({ type: 'fireworks', seq: 99 });
  assert.deepEqual({ ...state }, before);
});
