/**
 * Watches a room from a terminal: each event is a line of JSON, each line typed is a message.
 *
 *   node watch.js <websocket address> <broadcast_id> <token>     (before Node 22: --experimental-websocket)
 */

import { createInterface } from 'node:readline';

import { Room } from './index.js';

const [url, broadcastId, token] = process.argv.slice(2);
const room = new Room({ url, broadcastId, token });
const print = (/** @type {object} */ line) => console.log(JSON.stringify(line));
room.on('status', (change) => print({ type: 'status', ...change }));
room.on('reset', (reset) => print({ type: 'reset', ...reset }));
room.on('event', print);
room.connect();

const typed = createInterface({ input: process.stdin });
typed.on('line', (line) => {
  try {
    if (!room.chat(line)) {
      console.error('not connected: this was not said');
    }
  } catch (refusal) {
    console.error(`${refusal}`);
  }
});
typed.on('close', () => room.close());
