// Standard input of a program on pipes: sent by lines, as no terminal edits or echoes it.
import { utf8 } from '../core/bytes.js';
import { texts } from '../core/texts.js';
import { $ } from './dom.js';

const ECHO = ['\u001b[36m', '\u001b[39m'];

export function setUpStdin(/** @type {import('./screen.js').Screen} */ screen) {
  const input = $('stdin-text');
  const send = (/** @type {string} */ line) => {
    // Echoed only if it was accepted.
    if (screen.channel?.write(utf8(`${line}\n`))) screen.view.write(utf8(`${ECHO[0]}${line}${ECHO[1]}\r\n`));
  };
  const end = () => {
    if (input.value) {
      screen.channel?.write(utf8(input.value)); // a last line without a newline
      screen.view.write(utf8(`${ECHO[0]}${input.value}${ECHO[1]}\r\n`));
    }
    input.value = '';
    if (screen.channel?.end()) screen.say(texts.program.endOfInput);
    draw();
  };
  const draw = () => {
    const { channel } = screen;
    const open = Boolean(channel?.running && channel.mode === 'pipe');
    $('stdin').hidden = !open;
    if (channel && open) {
      input.disabled = channel.input.eof;
      $('stdin-eof').disabled = channel.input.eof;
    }
  };
  $('stdin').addEventListener('submit', (event) => {
    event.preventDefault();
    send(input.value);
    input.value = '';
  });
  $('stdin-eof').addEventListener('click', end);
  input.addEventListener('keydown', (event) => {
    if (!event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === 'd') end();
    else if (event.key === 'c' && input.selectionStart === input.selectionEnd) screen.channel?.signal('INT');
    else return;
    event.preventDefault();
  });
  /** Inserts a text into the line; complete lines in it are sent. */
  const insert = (/** @type {string} */ text) => {
    const [from, to] = [input.selectionStart ?? input.value.length, input.selectionEnd ?? input.value.length];
    // Line ends of any system are accepted.
    const lines = (input.value.slice(0, from) + text.replace(/\r\n?/g, '\n') + input.value.slice(to)).split('\n');
    if (lines.length === 1) {
      input.setRangeText(text, from, to, 'end');
      return;
    }
    input.value = lines.pop() ?? '';
    if (screen.channel?.write(utf8(lines.map((line) => `${line}\n`).join('')))) {
      screen.view.write(utf8(lines.map((line) => `${ECHO[0]}${line}${ECHO[1]}\r\n`).join('')));
    }
  };
  input.addEventListener('paste', (event) => {
    const text = event.clipboardData?.getData('text/plain') ?? '';
    if (!/[\r\n]/.test(text)) return;
    event.preventDefault(); // a text field would join the lines
    insert(text);
  });
  screen.on('state', () => {
    draw();
    if (!$('stdin').hidden && document.activeElement === screen.view.term.textarea) input.focus();
  });
  // Text that is typed or pasted into the terminal itself goes into the line. Input that begins with ESC is a key that
  // has no meaning in a line, or the terminal's own answer to the program.
  screen.on('line-input', (bytes) => {
    // Without the marks of a bracketed paste.
    const text = new TextDecoder().decode(bytes).replace(/^\u001b\[200~|\u001b\[201~$/g, '');
    if (text.startsWith('\u001b')) return;
    if (text === '\u0004') end();
    else if (text === '\u0003') screen.channel?.signal('INT');
    else if (text === '\r') $('stdin').requestSubmit();
    else insert(text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, ''));
    setTimeout(() => input.focus()); // after the event, or the browser would paste a second time
  });
}
