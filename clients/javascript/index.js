// Programs on a CodeRunner server, from Node 20 or later and from browsers. A program's output is an async iterator, which
// goes on through lost connections and restarts of the server: nothing of it is lost or doubled.
export { Client } from './client.js';
export { Program } from './program.js';
export { Refused } from './refused.js';
export { Session } from './session.js';
