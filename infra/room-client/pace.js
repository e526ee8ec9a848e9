/** @import { Clock } from './types.js' */

/** How many likes one message may bring. */
export const MAX_LIKES = 50;
/** Least time between two messages of likes. */
const LIKE_INTERVAL_MS = 200;
/** Likes that wait. Whoever taps faster than they go out for this long is not missed. */
const LIKES_WAITING_MAX = 500;

/** Waits between tries: random up to a bound that doubles, so that those who were dropped together come back apart. */
export class Backoff {
  #base;
  #cap;
  #random;
  #attempt = 0;

  /**
   * @param {number} base
   * @param {number} cap
   * @param {() => number} random
   */
  constructor(base, cap, random) {
    this.#base = base;
    this.#cap = cap;
    this.#random = random;
  }

  next() {
    const bound = Math.min(this.#cap, this.#base * 2 ** this.#attempt);
    this.#attempt += 1;
    return this.#random() * bound;
  }

  reset() {
    this.#attempt = 0;
  }
}

/** Taps, gathered into few messages. */
export class Likes {
  #send;
  #clock;
  #waiting = 0;
  /** @type {any} */
  #timer = null;

  /**
   * @param {(count: number) => boolean} send  `false` if it could not be sent.
   * @param {Clock} clock
   */
  constructor(send, clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** @param {number} count */
  add(count) {
    this.#waiting = Math.min(this.#waiting + count, LIKES_WAITING_MAX);
    this.flush();
  }

  /** Sends what waits, as soon as it may. */
  flush() {
    const count = Math.min(this.#waiting, MAX_LIKES);
    if (this.#timer === null && count > 0 && this.#send(count)) {
      this.#waiting -= count;
      this.#timer = this.#clock.setTimeout(() => {
        this.#timer = null;
        this.flush();
      }, LIKE_INTERVAL_MS);
    }
  }
}
