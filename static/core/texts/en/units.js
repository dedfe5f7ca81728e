// Times and sizes.
import { number } from './counts.js';

export const units = {
  /** @param {number} bytes */
  bytes: (bytes) => `${bytes} B`,
  /** @param {number} value @param {number} digits behind the point @param {number} power of 1024: 1 to 3 */
  size: (value, digits, power) => `${number(value, digits)} ${['KB', 'MB', 'GB'][power - 1]}`,
  /** @param {number} ms */
  milliseconds: (ms) => `${ms} ms`,
  /** @param {number} value @param {number} digits behind the point */
  seconds: (value, digits) => `${number(value, digits)} s`,
  /** @param {number} count */
  minutes: (count) => `${count} min`,
  /** @param {number} count */
  hours: (count) => `${count} h`,
  /** @param {number} minutes @param {number} seconds */
  minutesSeconds: (minutes, seconds) => `${minutes} min ${seconds} s`,
  /** @param {number} hours @param {number} minutes */
  hoursMinutes: (hours, minutes) => `${hours} h ${minutes} min`,
  underMinute: 'less than a minute',
};
