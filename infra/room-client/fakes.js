/** What the tests put in place of time, chance and the network. */

import { Room } from './index.js';

/** Lets whatever waits for a promise go on. */
const settle = () => new Promise((done) => setImmediate(done));

export class FakeClock {
  #now = Date.parse('2026-01-01T00:00:00Z');
  #timers = new Map();
  #last = 0;

  now = () => this.#now;

  setTimeout = (call, ms) => {
    this.#timers.set(++this.#last, { at: this.#now + ms, call });
    return this.#last;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** Time goes by, and everything due happens in its order. */
  async pass(ms) {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const [due] = [...this.#timers].filter(([, timer]) => timer.at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (!due) {
        break;
      }
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].call();
      await settle();
    }
    this.#now = until;
  }

  get waiting() {
    return this.#timers.size;
  }
}

/** A socket whose other end is the test. */
export class FakeSocket {
  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = new URL(url);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
    this.onsend?.(this.sent.at(-1));
  }

  close(code) {
    this.closedWith = code;
    this.readyState = 3;
  }

  accept() {
    this.readyState = 1;
    this.onopen();
  }

  frame(seq, ...events) {
    this.onmessage({ data: JSON.stringify({ type: 'frame', seq, events }) });
  }

  /** The connection breaks. */
  drop() {
    this.readyState = 3;
    this.onerror?.({});
    this.onclose({ code: 1006 });
  }
}

/** A random number from 0 to below 1, the same for the same seed. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A room of fakes, and what it told. */
export function stage(options = {}) {
  const clock = new FakeClock();
  const sockets = [];
  const network = new EventTarget();
  const room = new Room({
    url: 'wss://room.example/live',
    broadcastId: 'b1',
    token: 'secret',
    WebSocket: class extends FakeSocket {
      constructor(url) {
        super(url);
        sockets.push(this);
      }
    },
    clock,
    network,
    random: () => 0.5,
    ...options,
  });
  const told = [];
  room.on('event', (event) => told.push(event));
  const statuses = [];
  room.on('status', (change) => statuses.push(change));
  const resets = [];
  room.on('reset', (reset) => resets.push(reset));
  return {
    room,
    clock,
    sockets,
    network,
    told,
    statuses,
    resets,
    /** The newest socket. */
    get socket() {
      return sockets.at(-1);
    },
    /** Connects, and joins at `seq`. */
    async enter(seq = 10, body = {}) {
      room.connect();
      await clock.pass(0);
      sockets.at(-1).accept();
      sockets.at(-1).frame(seq, init(clock, { seq, ...body }));
    },
    /** Waits for the next try, and lets it open. */
    async back() {
      const before = sockets.length;
      while (sockets.length === before) {
        await clock.pass(100);
      }
      sockets.at(-1).accept();
    },
  };
}

/** The room itself, as the answer to a join. */
export function init(clock, body = {}) {
  return {
    type: 'init',
    broadcast: { broadcast_id: 'b1', title: '라이브', status: 'live' },
    viewer_count: 1,
    like_count: 0,
    chat_count: 0,
    products: [],
    recent_chat: [],
    heartbeat_s: 240,
    reconnect_at: new Date(clock.now() + 6_000_000).toISOString(),
    ...body,
  };
}

export const chat = (id, message = 'hello') => ({
  type: 'chat',
  id: String(id),
  user_id: 'u1',
  name: '이름',
  message,
  timestamp: '2026-01-01T00:00:00Z',
});

export const product = (body) => ({
  id: 'p1',
  name: '사과',
  original_price: 29_900,
  live_price: 19_900,
  limited_quantity: 10,
  image: null,
  ends_at: null,
  ...body,
});
