// The wall of a room: what its teachers see of all its sessions.
import { number, plural } from './counts.js';

export const wall = {
  wall: {
    /** @param {string} room */
    title: (room) => `Wall of the room ${room}`,
    skip: 'Skip to the sessions',
    told: 'The users of these sessions are told that you watch, for as long as this page is open.',
    sessions: 'Sessions of the room',
    none: 'Nobody has a session in this room now.',
    noMatch: 'No session matches.',
    find: 'Filter',
    forget: 'Forget the key',
    signInTitle: 'Sign in',
    signInText: 'The wall is for the teachers of this room, and for the operators of this server.',
    key: 'Your key',
    keyText: 'It is kept in this tab only, until it is closed.',
    enter: 'Enter',
    provider: 'Sign in with your account',
    wrongKey: 'This server does not know that key.',
    notTeacher: 'You are not a teacher of this room. Sign in as one.',
    lost: 'Connection lost. Reconnecting …',
    /** @param {number} all @param {number} running */
    count: (all, running) => `${plural(all, { one: '1 session', other: `${number(all)} sessions` })}, ${number(running)} running`,
    running: 'running',
    idle: 'idle',
    away: 'away',
    nobody: 'Without a name',
    /** @param {string} name */
    watch: (name) => `Watch ${name}`,
    /** @param {string} name */
    watching: (name) => `Watching ${name}`,
    /** @param {string} time */
    since: (time) => `since ${time}`,
    /** @param {string} time */
    hand: (time) => `Hand raised at ${time}`,
    lower: 'Lower it',
    /** @param {string} name */
    lowerOf: (name) => `Lower the hand of ${name}`,
    tellAll: 'Message to all',
    tell: 'Message',
    /** @param {string} name */
    tellTo: (name) => `Message to ${name}`,
    tellAllText: 'All sessions of the room show it, with your name.',
    tellText: 'The session shows it, with your name.',
    handOut: 'Hand out files',
    handOutText: 'All sessions of the room get them, in a folder. Files of the same names in it are replaced, and the users are told. One archive (zip, tar, tar.gz) is unpacked. At most 4 MB.',
    files: 'Files',
    folder: 'Folder',
    /** @param {number} files @param {number} sessions */
    handedOut: (files, sessions) => `${plural(files, { one: '1 file', other: `${number(files)} files` })} handed out to ${plural(sessions, { one: '1 session', other: `${number(sessions)} sessions` })}.`,
    /** @param {string[]} names */
    notHandedOut: (names) => `Not to: ${names.join(', ')}.`,
    collect: 'Collect all files',
    collecting: 'Collecting …',
    collected: 'Collected. What is not in the archive is named in its left-out.txt.',
    text: 'Text',
    send: 'Send',
    /** @param {number} count */
    sent: (count) => plural(count, { one: 'Shown in 1 page.', other: `Shown in ${number(count)} pages.` }),
    /** @param {number} count */
    hands: (count) => plural(count, { one: '1 hand is raised', other: `${number(count)} hands are raised` }),
    program: 'Program',
    screen: 'What the program prints',
    connecting: 'Connecting …',
    watchText: 'You see what its programs print. Its users are told that you watch.',
    controlText: 'You have the control: what you type goes to the program. The owner can take the control back.',
    word: 'Why, in words for its owner',
    take: 'Take over',
    give: 'Hand back',
    stop: 'Stop the program',
    operatorText: 'Operators watch, and cannot take over.',
  },
};
