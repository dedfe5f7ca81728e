// What answers requests of the library in place of a server, and a clock that does not wait.

const JSON_TYPE = { 'Content-Type': 'application/json; charset=utf-8' };
export const answer = (text) => new Response(text, { headers: JSON_TYPE });

/** In place of setTimeout: pauses between attempts are over at once, deadlines of requests never. */
export const pauses = (passed = () => {}) => (act, ms) => (ms > 500 ? undefined : queueMicrotask(() => { passed(ms); act(); }));

/** A clock that moves with the pauses between attempts, and answers by turns; the last one for ever. */
export function turns(t, ...answers) {
  const clock = { ms: 0, asked: 0 };
  t.mock.method(performance, 'now', () => clock.ms);
  t.mock.method(globalThis, 'setTimeout', pauses((ms) => { clock.ms += ms; }));
  t.mock.method(globalThis, 'fetch', async () => answers[Math.min(clock.asked++, answers.length - 1)]());
  return clock;
}

export const failed = (code) => () => { throw new TypeError('fetch failed', { cause: Object.assign(new Error(`connect ${code}`), { code }) }); };
export const html = (status) => () => new Response('<html></html>', { status, headers: { 'Content-Type': 'text/html' } });
export const events = (text) => () => new Response(text, { headers: { 'Content-Type': 'text/event-stream' } });
/** An answer that ends before its end, as a connection that is lost. */
const half = (type, text) => () => new Response(new ReadableStream({ start(body) { body.enqueue(new TextEncoder().encode(text)); }, pull(body) { body.error(new TypeError('terminated')); } }), { headers: { 'Content-Type': type } });
export const OTHERS = [
  html(200), html(401), html(404), html(403), html(429), html(500), html(502), html(503), html(504), half('application/json', '{"languages": ['), half('text/event-stream', 'event: batch\n'),
  ...['{}', 'null', '[]', '5', 'not json', '', '{"languages": null}', '{"id": 5}'].map((text) => () => answer(text)),
  ...['event: done\ndata: {}', 'event: done\ndata: null', 'event: case\ndata: not json', 'event: problem\ndata: {}', 'event: other\ndata: {}', 'data: 1', ''].map((text) => events(`${text}\n\n`)),
];

export const ONE = { id: 'one', exit: null };
export const HEALTH = '{"status": "ok", "version": "1"}';
