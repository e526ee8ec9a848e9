/** @import { Clock, Frame } from './types.js' */

/** How often API Gateway must hear something at least, until the room has said how often. */
const HEARTBEAT_S = 240;
/** `WebSocket.OPEN`. */
const OPEN = 1;
/** Why a connection is lost whose join was not answered. */
export const NO_ANSWER = 'no answer to the join';

/**
 * What is said to this connection alone. It carries the sequence number of the join, which may be long past, so it is always
 * heard and never moves the sequence.
 */
const DIRECT = ['pong', 'error', 'reconnect'];

/** @param {{ type: string }} event */
export const isDirect = (event) => DIRECT.includes(event.type);

/**
 * @typedef {object} Handlers
 * @property {() => void} opened  It can join now.
 * @property {(frame: Frame, isAnswer: boolean) => void} frame  A frame; `isAnswer`: it answers the join.
 * @property {(reason: string) => void} lost  It is gone, and not because it was told to close. Said once.
 * @property {() => void} due  Its time is over: another one should take its place.
 *
 * @typedef {object} Patience
 * @property {number} openTimeoutMs
 * @property {number} joinTimeoutMs
 * @property {number} pongTimeoutMs
 */

/** One socket, from its opening to its end. */
export class Connection {
  #socket;
  #clock;
  #handlers;
  #patience;
  #over = false;
  /** @type {number | null} What it joined with. */
  #lastSeq = null;
  /** @type {number | null} When the join was answered. */
  #joinedAt = null;
  /** @type {Map<string, any>} */
  #timers = new Map();

  /**
   * @param {any} socket
   * @param {Clock} clock
   * @param {Patience} patience
   * @param {Handlers} handlers
   */
  constructor(socket, clock, patience, handlers) {
    this.#socket = socket;
    this.#clock = clock;
    this.#patience = patience;
    this.#handlers = handlers;
    socket.onopen = () => {
      this.#forget('open');
      if (!this.#over) {
        handlers.opened();
      }
    };
    socket.onmessage = (/** @type {{ data: unknown }} */ message) => this.#read(message.data);
    socket.onclose = () => this.#lose('closed');
    // A close follows every error.
    socket.onerror = () => {};
    this.#after('open', patience.openTimeoutMs, () => this.#lose('no connection'));
  }

  /** Whether the room has answered its join. */
  get joined() {
    return this.#joinedAt !== null && !this.#over;
  }

  /** For how long it has been in the room. */
  get age() {
    return this.#joinedAt === null ? 0 : this.#clock.now() - this.#joinedAt;
  }

  /** @param {number | null} lastSeq */
  join(lastSeq) {
    this.#lastSeq = lastSeq;
    this.#after('join', this.#patience.joinTimeoutMs, () => this.#lose(NO_ANSWER));
    this.send(lastSeq === null ? { type: 'join' } : { type: 'join', last_seq: lastSeq });
  }

  /**
   * Returns `false` if it is no longer open.
   *
   * @param {object} message
   */
  send(message) {
    const isOpen = this.#socket.readyState === OPEN;
    if (isOpen) {
      this.#socket.send(JSON.stringify(message));
    }
    return isOpen;
  }

  /**
   * Says something every so often, and takes silence for the end.
   *
   * @param {number} [everyS]
   */
  beat(everyS = HEARTBEAT_S) {
    this.#after('beat', everyS * 1000, () => {
      this.send({ type: 'ping' });
      // The first ping without a pong counts, however often it pings.
      if (!this.#timers.has('pong')) {
        this.#after('pong', this.#patience.pongTimeoutMs, () => this.#lose('no pong'));
      }
      this.beat(everyS);
    });
  }

  /** @param {number} delayMs */
  leaveIn(delayMs) {
    this.#after('leave', delayMs, () => this.#handlers.due());
  }

  close() {
    this.#end();
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #read(data) {
    const frame = parse(data);
    if (this.#over || !frame) {
      return;
    }
    if (frame.events.some((event) => event.type === 'pong')) {
      this.#forget('pong');
    }
    const isAnswer = this.#joinedAt === null && this.#answers(frame);
    if (isAnswer) {
      this.#forget('join');
      this.#joinedAt = this.#clock.now();
    }
    this.#handlers.frame(frame, isAnswer);
  }

  /**
   * The first frame answers the join, but for what is said to this connection alone before: that has an older number.
   *
   * @param {Frame} frame
   */
  #answers({ seq, events }) {
    return !events.every(isDirect) || (this.#lastSeq !== null && seq >= this.#lastSeq);
  }

  /** @param {string} reason */
  #lose(reason) {
    if (!this.#over) {
      this.#end();
      this.#socket.close();
      this.#handlers.lost(reason);
    }
  }

  #end() {
    this.#over = true;
    for (const name of [...this.#timers.keys()]) {
      this.#forget(name);
    }
  }

  /**
   * @param {string} name
   * @param {number} ms
   * @param {() => void} call
   */
  #after(name, ms, call) {
    this.#forget(name);
    if (!this.#over) {
      const timer = this.#clock.setTimeout(() => {
        this.#timers.delete(name);
        call();
      }, ms);
      this.#timers.set(name, timer);
    }
  }

  /** @param {string} name */
  #forget(name) {
    this.#clock.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/**
 * What API Gateway itself says of an error is no frame.
 *
 * @param {unknown} data
 * @returns {Frame | null}
 */
function parse(data) {
  try {
    const frame = JSON.parse(String(data));
    return frame?.type === 'frame' && Number.isSafeInteger(frame.seq) && Array.isArray(frame.events) ? frame : null;
  } catch {
    return null;
  }
}
