// What the store of projects uses of idb; bundled to static/dist/idb.js.
export { openDB } from 'idb';
