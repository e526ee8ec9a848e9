/**
 * What goes over the wire, and what the library says of itself. `infra/asyncapi.yaml` is the full description.
 *
 * @typedef {{ setTimeout: (call: () => void, ms: number) => any, clearTimeout: (timer: any) => void, now: () => number }} Clock
 * @typedef {Pick<EventTarget, 'addEventListener' | 'removeEventListener'>} Network  Says `online` and `offline`.
 *
 * @typedef {object} RoomOptions
 * @property {string} url  Where the WebSocket API is, its stage included.
 * @property {string} broadcastId
 * @property {string | (() => string | Promise<string>)} token  A function is asked before each connect, so that an
 *   expired token is replaced.
 * @property {number} [backoffBaseMs]  Bound of the first wait before a new try; it doubles. 1,000 by default.
 * @property {number} [backoffCapMs]  Bound of any wait. 30,000 by default.
 * @property {number} [stableMs]  After so long a connection the waits begin anew. 10,000 by default.
 * @property {number} [openTimeoutMs]  15,000 by default.
 * @property {number} [joinTimeoutMs]  10,000 by default.
 * @property {number} [pongTimeoutMs]  10,000 by default.
 * @property {number} [recentChat]  Messages that the state keeps. 100 by default.
 * @property {new (url: string) => any} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]  From 0 to below 1.
 * @property {Network | null} [network]
 *
 * @typedef {object} Frame
 * @property {'frame'} type
 * @property {number} seq
 * @property {WireEvent[]} events
 *
 * @typedef {{ type: string, [field: string]: any }} WireEvent
 *
 * @typedef {object} Broadcast
 * @property {string} broadcast_id
 * @property {string} title
 * @property {'scheduled' | 'live' | 'ended'} status
 * @property {string} [starts_at]
 * @property {string} [started_at]
 * @property {string} [ended_at]
 *
 * @typedef {object} Product
 * @property {string} id
 * @property {string} name
 * @property {number} original_price
 * @property {number} live_price
 * @property {number} limited_quantity
 * @property {number} [remaining]
 * @property {number} [version]
 * @property {string | null} image
 * @property {string | null} ends_at
 * @property {boolean} [paused]
 *
 * @typedef {object} Chat
 * @property {string} id
 * @property {string} user_id
 * @property {string} name
 * @property {string} message
 * @property {string} timestamp
 *
 * @typedef {object} Init
 * @property {Broadcast} broadcast
 * @property {number} viewer_count
 * @property {number} like_count
 * @property {number} chat_count
 * @property {Product[]} products
 * @property {Chat[]} recent_chat
 * @property {number} seq
 * @property {number} heartbeat_s
 * @property {string} reconnect_at
 * @property {Chat | null} [pinned]
 * @property {boolean} [frozen]
 * @property {number} [slow_mode_s]
 *
 * @typedef {object} Order
 * @property {string} order_id
 * @property {'accepted' | 'reserved' | 'confirmed' | 'failed'} status
 * @property {string} [reason]
 * @property {{ product_id: string, quantity: number }[]} lines
 * @property {number} amount
 * @property {string} created_at
 * @property {string} [settled_at]
 * @property {string} [pay_by]
 * @property {string} [declined]
 * @property {{ payment_key: string, approved_at?: string, refunded_at?: string }} [payment]
 *
 * @typedef {'closed' | 'connecting' | 'online' | 'waiting' | 'offline'} Status
 *
 * @typedef {object} StatusChange
 * @property {Status} status
 * @property {string} [reason]  Why the connection is not there.
 * @property {unknown} [error]  What the token function or the WebSocket threw.
 * @property {number} [retryInMs]
 *
 * What `on` takes. `status`, `reset` and `event` are the library's own; the rest is the room's, and an event that a newer
 * server sends is heard under its type, too.
 *
 * @typedef {object} RoomEvents
 * @property {StatusChange} status
 * @property {{ seen: number | null, seq: number }} reset  What happened between the two is lost; the state is the room's.
 * @property {WireEvent} event  Every event of the room, after `state` has it.
 * @property {Init} init
 * @property {Chat} chat
 * @property {{ count: number }} like_count
 * @property {{ count: number }} viewer_count
 * @property {{ product_id: string, remaining: number, version: number, timestamp: string }} inventory_update
 * @property {{ product: Product }} product_spotlight
 * @property {{ product_id: string, reason: 'sold_out' | 'ended' | 'paused' }} product_closed
 * @property {Order} order_result
 * @property {{ action: string, target?: any, message?: Chat }} moderation
 * @property {{ code: string, detail: string, retry_after_s?: number }} error
 * @property {{ at: string }} reconnect
 * @property {Record<string, never>} pong
 */

export {};
