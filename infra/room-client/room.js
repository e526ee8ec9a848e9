/** @import { Clock, Frame, RoomEvents, RoomOptions, StatusChange, WireEvent } from './types.js' */

import { Connection, NO_ANSWER, isDirect } from './connection.js';
import { Backoff, Likes } from './pace.js';
import { RoomState } from './state.js';

/** How long a chat message may be, in characters as people count them in code: Unicode scalar values. */
export const MAX_CHAT = 200;
/** API Gateway closes every connection after two hours. */
const CONNECTION_MS_MAX = 2 * 3600 * 1000;
/** Until this long after its join, a connection is told to stay no less than this: less comes of clocks that differ. */
const CONNECTION_MS_MIN = 60 * 1000;
/** A connection that ends so soon after it was told `forbidden` was ended for it: the viewer is banned. */
const PUT_OUT_MS = 2_000;
/** So often it asks for what was missed. That may be more than one message holds, and then it never comes. */
const RESUMES_MAX = 3;

const DEFAULTS = {
  backoffBaseMs: 1_000,
  backoffCapMs: 30_000,
  stableMs: 10_000,
  openTimeoutMs: 15_000,
  joinTimeoutMs: 10_000,
  pongTimeoutMs: 10_000,
  recentChat: 100,
  random: Math.random,
};

/** @type {Clock} */
const CLOCK = {
  now: () => Date.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * A viewer in a room: connects, comes back by itself, and hands every event on once and in order.
 *
 * Each frame carries the sequence number of its last event. A new connection joins with the last one seen and is answered with
 * exactly what came after it; or, if the room does not know that any more, with the room as it is now (`reset`).
 */
export class Room {
  /** The room as it is now. */
  state;

  #options;
  #clock;
  #network;
  #backoff;
  #likes;
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  /** @type {Connection | null} The one whose frames count. */
  #current = null;
  /** @type {Connection | null} The one that is being opened. */
  #next = null;
  /** @type {any} */
  #retry = null;
  /** Whether another connection is on its way, or waits for its turn. */
  #coming = false;
  /** Grows with each try and each end, so that a token that comes too late opens nothing. */
  #tries = 0;
  /** When the room last said that something is forbidden. */
  #forbiddenAt = -Infinity;
  /** Joins that had no answer, one after the other. */
  #unanswered = 0;
  /** How often to ping, and how long to stay; said by `init`, and kept by the connections that resume. */
  #heartbeatS = /** @type {number | undefined} */ (undefined);
  #stayMs = /** @type {number | undefined} */ (undefined);
  /** @type {number | null} Sequence number of the `init` that the current connection brought. */
  #initSeq = null;

  /** @param {RoomOptions} options */
  constructor(options) {
    this.#options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options, url: new URL(options.url) };
    const { backoffBaseMs, backoffCapMs, random } = this.#options;
    this.#clock = options.clock ?? CLOCK;
    // Only browsers say that they are online.
    this.#network = options.network ?? ('addEventListener' in globalThis ? globalThis : null);
    this.#backoff = new Backoff(backoffBaseMs, backoffCapMs, random);
    this.#likes = new Likes((count) => this.#send({ type: 'like', count }), this.#clock);
    this.state = new RoomState(this.#options.recentChat);
  }

  /**
   * Hears events. Returns what stops it.
   *
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {(event: RoomEvents[K]) => void} listener
   * @returns {() => void}
   */
  on(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => all.delete(listener);
  }

  /** Comes in, and stays until `close`. After a `close` it goes on where it was. */
  connect() {
    if (this.state.status === 'closed') {
      this.#network?.addEventListener('online', this.#online);
      this.#network?.addEventListener('offline', this.#offline);
      void this.#open();
    }
  }

  /**
   * Leaves.
   *
   * @param {string} [reason]
   */
  close(reason) {
    this.#network?.removeEventListener('online', this.#online);
    this.#network?.removeEventListener('offline', this.#offline);
    this.#drop();
    this.#say(reason ? { status: 'closed', reason } : { status: 'closed' });
  }

  /**
   * Says something; it is said when it comes back as a `chat`. Returns `false` if there is no connection: what was meant for
   * this moment is not said later.
   *
   * @param {string} message
   * @throws {RangeError} It is empty or longer than `MAX_CHAT`, which the room would refuse.
   */
  chat(message) {
    const { length } = [...message];
    if (length < 1 || length > MAX_CHAT) {
      throw new RangeError(`a message has 1 to ${MAX_CHAT} characters, this one ${length}`);
    }
    return this.#send({ type: 'chat', message });
  }

  /**
   * Likes. Many taps are few messages.
   *
   * @param {number} [count]
   */
  like(count = 1) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new RangeError('likes are counted from 1');
    }
    this.#likes.add(count);
  }

  #online = () => {
    if (this.state.status === 'offline') {
      this.#backoff.reset();
      void this.#open();
    }
  };

  #offline = () => {
    this.#drop();
    this.#say({ status: 'offline' });
  };

  /** Opens another connection. One that is there stays until the other is open. */
  async #open() {
    const current = ++this.#tries;
    this.#coming = true;
    if (!this.#current) {
      this.#say({ status: 'connecting' });
    }
    const { token, url, broadcastId, WebSocket } = this.#options;
    try {
      const address = new URL(url);
      address.searchParams.set('token', typeof token === 'function' ? await token() : token);
      address.searchParams.set('broadcast_id', broadcastId);
      if (current === this.#tries) {
        this.#next = this.#connection(new WebSocket(address.href));
      }
    } catch (error) {
      if (current === this.#tries) {
        this.#again({ reason: 'not opened', error });
      }
    }
  }

  /** @param {any} socket */
  #connection(socket) {
    const connection = new Connection(socket, this.#clock, this.#options, {
      opened: () => this.#takeOver(connection),
      frame: (frame, isAnswer) => this.#read(connection, frame, isAnswer),
      lost: (reason) => this.#lost(connection, reason),
      due: () => {
        if (!this.#coming) {
          void this.#open();
        }
      },
    });
    return connection;
  }

  /**
   * From here on the frames of the connection before do not count: the answer to this join brings all that they would.
   *
   * @param {Connection} connection
   */
  #takeOver(connection) {
    const before = this.#current;
    this.#next = null;
    this.#coming = false;
    this.#current = connection;
    this.#initSeq = null;
    connection.join(this.#unanswered < RESUMES_MAX ? this.state.seq : null);
    before?.close();
  }

  /**
   * @param {Connection} connection
   * @param {string} reason
   */
  #lost(connection, reason) {
    if (connection === this.#next) {
      this.#next = null;
      this.#again({ reason });
      return;
    }
    this.#current = null;
    if (this.#clock.now() - this.#forbiddenAt < PUT_OUT_MS) {
      this.close('forbidden');
      return;
    }
    if (reason === NO_ANSWER) {
      this.#unanswered += 1;
    } else if (connection.age >= this.#options.stableMs) {
      this.#backoff.reset();
    }
    if (this.#coming) {
      this.#say({ status: 'connecting', reason });
    } else {
      this.#again({ reason });
    }
  }

  /** @param {Omit<StatusChange, 'status' | 'retryInMs'>} why */
  #again(why) {
    const retryInMs = this.#backoff.next();
    this.#coming = true;
    this.#retry = this.#clock.setTimeout(() => void this.#open(), retryInMs);
    if (!this.#current) {
      this.#say({ status: 'waiting', retryInMs, ...why });
    }
  }

  #drop() {
    this.#tries += 1;
    this.#coming = false;
    this.#clock.clearTimeout(this.#retry);
    this.#next?.close();
    this.#current?.close();
    this.#next = this.#current = null;
  }

  /**
   * @param {Connection} connection
   * @param {Frame} frame
   * @param {boolean} isAnswer
   */
  #read(connection, frame, isAnswer) {
    const { seq: seen } = this.state;
    const init = frame.events.find((event) => event.type === 'init');
    // A frame may come twice. The room itself counts even under a lower number: then the room has lost its memory.
    const isNew = init ? frame.seq !== this.#initSeq : seen === null || frame.seq > seen;
    if (isNew && (isAnswer || !frame.events.every(isDirect))) {
      this.state.seq = frame.seq;
    }
    if (init && isNew) {
      this.#initSeq = frame.seq;
      this.#heartbeatS = init.heartbeat_s;
      this.#stayMs = this.#stay(Date.parse(init.reconnect_at) - this.#clock.now());
    }
    if (isAnswer) {
      this.#unanswered = 0;
      connection.beat(this.#heartbeatS);
      connection.leaveIn((this.#stayMs ??= this.#stay(NaN)));
    }
    for (const event of frame.events) {
      if (isDirect(event) || (isNew && !this.state.has(event))) {
        this.state.apply(event);
        this.#tell(event.type, event);
        this.#tell('event', event);
      }
      if (event.type === 'error' && event.code === 'forbidden') {
        this.#forbiddenAt = this.#clock.now();
      }
      if (event.type === 'reconnect') {
        connection.leaveIn(this.#until(event.at, connection.age));
      }
    }
    if (init && isNew && seen !== null) {
      this.#tell('reset', { seen, seq: frame.seq });
    }
    if (isAnswer && connection.joined) {
      this.#say({ status: 'online' });
      this.#likes.flush();
    }
  }

  /**
   * How long to stay, if the room says `ms`: what a wrong clock makes of that may not drive viewers in and out.
   *
   * @param {number} ms
   */
  #stay(ms) {
    const isCredible = ms >= CONNECTION_MS_MIN && ms <= CONNECTION_MS_MAX;
    return isCredible ? ms : CONNECTION_MS_MAX * (0.8 + 0.15 * this.#options.random());
  }

  /**
   * How long to wait until the room wants this viewer to come back. Those who are late for it do not all come at once.
   *
   * @param {string} at
   * @param {number} age
   */
  #until(at, age) {
    const wait = Math.min(Date.parse(at) - this.#clock.now(), CONNECTION_MS_MAX);
    if (age < CONNECTION_MS_MIN) {
      return this.#stay(wait);
    }
    return wait > 0 ? wait : this.#options.random() * this.#options.backoffBaseMs;
  }

  /** @param {object} message */
  #send(message) {
    return this.#current?.joined === true && this.#current.send(message);
  }

  /** @param {StatusChange} change */
  #say(change) {
    this.state.status = change.status;
    this.#tell('status', change);
  }

  /**
   * @param {string} type
   * @param {object} event
   */
  #tell(type, event) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try {
        listener(event);
      } catch (error) {
        // As with any event target: it is reported, and the others hear the event all the same.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
