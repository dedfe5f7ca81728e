// The end of a program in words. The phrases are stable: people remember them, and tests read them.
import { texts } from './texts.js';
import { en } from './texts/en.js';

/** @param {number} ms */
export function duration(ms) {
  const { units } = texts;
  if (ms < 1000) return units.milliseconds(Math.round(ms));
  if (ms < 60_000) return units.seconds(ms / 1000, ms < 10_000 ? 2 : 1);
  return minutes(Math.round(ms / 1000));
}

/** @param {number} whole seconds, a minute or more */
function minutes(whole) {
  const [hours, left] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours ? texts.units.hoursMinutes(hours, left) : texts.units.minutesSeconds(left, whole % 60);
}

/** As `duration`, for a time that passes while it is read: whole seconds. */
/** @param {number} ms */
export function seconds(ms) {
  const whole = Math.round(ms / 1000);
  return whole < 60 ? texts.units.seconds(whole, 0) : minutes(whole);
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return texts.units.bytes(bytes);
  let value = bytes / 1024;
  let power = 1;
  // 999.5 would be rounded to 1000 of the unit.
  for (; value >= 999.5 && power < 3; power += 1) value /= 1024;
  return texts.units.size(value, value < 9.95 ? 1 : 0, power);
}

function title(/** @type {{reason: string, code: number | null, signal: string | null}} */ { reason, code, signal }) {
  if (reason === 'exited') return code === 0 ? texts.endings.finished : texts.endings.code(Number(code));
  if (reason === 'signaled') {
    if (signal === null) return texts.endings.unseenSignal;
    const why = texts.endings.signals[signal];
    return why ? texts.endings.signalWhy(signal, why) : texts.endings.signal(signal);
  }
  return texts.endings.reasons[reason];
}

/** The server's English sentence in the page's language; a sentence that is not in the table is returned as it is. */
function hint(/** @type {string} */ sentence) {
  for (const [name, english] of Object.entries(en.hints)) {
    const [before, after] = english.split('{word}');
    if (after === undefined ? sentence !== english : !sentence.startsWith(before) || !sentence.endsWith(after)) continue;
    const word = after === undefined ? '' : sentence.slice(before.length, sentence.length - after.length);
    return texts.hints[/** @type {keyof typeof en.hints} */ (name)].replace('{word}', () => word);
  }
  return sentence;
}

/**
 * @param exit the `exit` message
 * @returns {{tone: 'good'|'bad'|'plain', title: string, details: string[]}}
 */
export function ending(/** @type {import('./messages.js').Exit} */ exit) {
  const { reason, code, usage } = exit;
  const details = (exit.hints ?? []).map(hint);
  if (reason === 'exited' && code === 0) details.push(texts.endings.exitCode(0));
  if (exit.shared) details.push(texts.endings.sharedMemory);
  // The title says it already.
  for (const limit of exit.limits_hit) if (!(reason === 'oom' && limit === 'memory')) details.push(texts.endings.hit[limit]);
  if (exit.left_behind > 0) details.push(texts.endings.leftBehind(exit.left_behind));
  if (usage.wall_ms !== null) details.push(duration(usage.wall_ms));
  if (usage.cpu_ms !== null) details.push(texts.endings.cpu(duration(usage.cpu_ms)));
  if (usage.memory_peak_bytes !== null) details.push(texts.endings.memory(size(usage.memory_peak_bytes)));
  const good = reason === 'exited' && code === 0;
  return { tone: good ? 'good' : reason === 'killed' || reason === 'session_closed' ? 'plain' : 'bad', title: title(exit), details };
}

/** Why a session has ended. Files are in the page: the next run begins a new session with them. */
export const sessionOver = (/** @type {string} */ reason) => texts.over[reason] ?? texts.session.over;
