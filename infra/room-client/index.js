/**
 * A viewer's connection to a room. It draws nothing and reads no text: texts are data, show them with `textContent`.
 *
 * @module
 */

export { MAX_CHAT, Room } from './room.js';
export { MAX_LIKES } from './pace.js';
/** @typedef {import('./types.js').RoomOptions} RoomOptions */
/** @typedef {import('./types.js').RoomEvents} RoomEvents */
/** @typedef {import('./state.js').RoomState} RoomState */
