/** @import { Broadcast, Chat, Init, Product, Status, WireEvent } from './types.js' */

/** Messages by which a repeated one is known; more than any one frame brings. */
const HEARD_MAX = 1_000;

/** The room as it is now, kept up to date by its events. Its words are those of the contract. */
export class RoomState {
  /** @type {Status} */
  status = 'closed';
  /** @type {number | null} The last sequence number seen. */
  seq = null;
  /** @type {Broadcast | null} */
  broadcast = null;
  viewer_count = 0;
  like_count = 0;
  chat_count = 0;
  /** @type {Map<string, Product>} What is on air, by id. One with `remaining` 0 is sold out, one with `paused` waits. */
  products = new Map();
  /** @type {Chat[]} The latest messages, oldest first. */
  recent_chat = [];
  /** @type {Chat | { id: string } | null} */
  pinned = null;
  frozen = false;
  slow_mode_s = 0;

  #keep;
  /** @type {Set<string>} The ids of the latest messages, oldest first. */
  #heard = new Set();

  /** @param {number} keep  How many chat messages. */
  constructor(keep) {
    this.#keep = keep;
  }

  /**
   * Whether this message came before: a frame that the server believes lost comes again, with more behind it.
   *
   * @param {WireEvent} event
   */
  has(event) {
    return event.type === 'chat' && this.#heard.has(event.id);
  }

  /** @param {WireEvent} event  One that is not known changes nothing. */
  apply(event) {
    switch (event.type) {
      case 'init':
        return this.#replace(/** @type {any} */ (event));
      case 'chat':
        this.chat_count += 1;
        this.recent_chat = [...this.recent_chat, /** @type {any} */ (event)].slice(-this.#keep);
        this.#heard.add(event.id);
        if (this.#heard.size > HEARD_MAX) {
          this.#heard.delete(/** @type {string} */ (this.#heard.values().next().value));
        }
        return;
      case 'like_count':
        this.like_count = event.count;
        return;
      case 'viewer_count':
        this.viewer_count = event.count;
        return;
      case 'inventory_update':
        return this.#count(event);
      case 'product_spotlight':
        return this.#spotlight(event.product);
      case 'product_closed':
        return this.#close(event.product_id, event.reason);
      case 'moderation':
        return this.#moderate(event);
    }
  }

  /** @param {Init} init */
  #replace(init) {
    this.broadcast = init.broadcast;
    this.viewer_count = init.viewer_count;
    this.like_count = init.like_count;
    this.chat_count = init.chat_count;
    this.products = new Map(init.products.map((product) => [product.id, product]));
    this.recent_chat = init.recent_chat.slice(-this.#keep);
    this.pinned = init.pinned ?? null;
    this.frozen = init.frozen ?? false;
    this.slow_mode_s = init.slow_mode_s ?? 0;
  }

  /** @param {WireEvent} update */
  #count({ product_id, remaining, version }) {
    const product = this.products.get(product_id);
    if (product && version >= (product.version ?? 0)) {
      this.products.set(product_id, { ...product, remaining, version });
    }
  }

  /**
   * Takes over the terms. What remains is said by versions: a spotlight without one says it only of a product that has none.
   *
   * @param {Product} product
   */
  #spotlight(product) {
    const known = this.products.get(product.id);
    const older = known?.version !== undefined && !(/** @type {number} */ (product.version) >= known.version);
    const stock = older ? { remaining: known.remaining, version: known.version } : {};
    this.products.set(product.id, { ...product, ...stock });
  }

  /**
   * @param {string} id
   * @param {string} reason
   */
  #close(id, reason) {
    const product = this.products.get(id);
    if (reason === 'ended') {
      this.products.delete(id);
    } else if (product && reason === 'paused') {
      this.products.set(id, { ...product, paused: true });
    }
    // Sold out is what `remaining` says; units may come back.
  }

  /** @param {WireEvent} event */
  #moderate({ action, target, message }) {
    switch (action) {
      case 'delete':
        this.recent_chat = this.recent_chat.filter((chat) => chat.id !== target);
        if (this.pinned?.id === target) {
          this.pinned = null;
        }
        return;
      case 'pin':
        this.pinned = target == null ? null : (message ?? this.recent_chat.find((chat) => chat.id === target) ?? { id: target });
        return;
      case 'freeze':
      case 'unfreeze':
        this.frozen = action === 'freeze';
        return;
      case 'slow_mode':
        this.slow_mode_s = Number(target) || 0;
        return;
    }
  }
}
