// Reads a stream of events (`text/event-stream`) from the body of an answer: an EventSource cannot send a credential.

const MOST = 4 * 1024 * 1024; // characters of one event; a longer one is an error

/**
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{event: string, data: string}>} ends with the stream; comments and ids are left out
 */
export async function* eventsOf(body) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      if (text.length > MOST) throw new RangeError('an event is too long');
      for (const block of blocks) {
        const fields = block.split('\n').map((line) => /^(\w+): ?(.*)$/.exec(line)).filter((one) => one !== null);
        const data = fields.filter(([, name]) => name === 'data').map(([, , value_]) => value_);
        if (data.length) yield { event: fields.find(([, name]) => name === 'event')?.[2] ?? 'message', data: data.join('\n') };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the consumer has stopped, so the rest is not needed
  }
}
