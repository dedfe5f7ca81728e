// Projects, their files, and the editor.
import { files, number, plural } from './counts.js';

export const project = {
  projects: {
    title: 'Projects',
    fresh: 'New project…',
    rename: 'Rename…',
    remove: 'Delete…',
    newTitle: 'New project',
    name: 'Name',
    create: 'Create',
    renameTitle: 'Rename the project',
    renameOk: 'Rename',
    removeTitle: 'Delete the project?',
    /** @param {string} name */
    removeText: (name) => `“${name}” and all its files cannot be brought back.`,
    removeOk: 'Delete',
    needsName: 'A project needs a name.',
    longName: 'The name is too long.',
    another: 'Another project',
    /** @param {string} name */
    removedElsewhere: (name) => `“${name}” was deleted in another tab.`,
    removedElsewhereDetail: 'Another project is shown now.',
    kept: 'The project is kept.',
    notKept: 'The project could not be kept.',
    /** @param {string} path */
    split: (path) => `“${path}” was changed in another tab as well.`,
    /** @param {string} copy */
    splitDetail: (copy) => `What you wrote here is “${copy}” now.`,
    /** @param {string} path */
    restored: (path) => `“${path}” is kept.`,
    restoredDetail: 'It was changed in another tab while it was deleted here.',
    unsaved: 'This browser does not keep your files.',
    /** @param {string} why */
    unsavedDetail: (why) => `${why} They are gone when this page is: download them.`,
    full: 'Its storage is full.',
    off: 'Its storage is switched off or does not answer.',
  },

  files: {
    title: 'Files',
    tree: 'Files of the project',
    width: 'Width of the files',
    fresh: 'New file',
    transfer: 'Upload and download',
    uploadInput: 'Files to upload',
    uploadFolderInput: 'Folder to upload',
    file: 'File',
    made: 'Made by programs',
    more: 'and more',
    /** @param {number} count */
    andMore: (count) => `and ${number(count)} more`,
    run: 'run',
    runHint: 'This file is run',
    clash: 'Changed by a program and by you',
    /** @param {string} path */
    actions: (path) => `Actions for ${path}`,
    newLabel: 'Name, with its folder if it has one',
    create: 'Create',
    newFolder: 'New folder',
    name: 'Name',
    rename: 'Rename',
    newName: 'New name',
    removeFile: 'Delete the file?',
    removeFolder: 'Delete the folder?',
    /** @param {string} path */
    removeFileText: (path) => `“${path}” cannot be brought back.`,
    /** @param {string} path */
    removeFolderText: (path) => `“${path}” and everything in it cannot be brought back.`,
    remove: 'Delete',
    menuNew: 'New file here…',
    menuUpload: 'Upload files here…',
    menuDownload: 'Download',
    menuKeep: 'Keep in the project',
    menuRun: 'Run this file',
    isRun: 'is run',
    menuRename: 'Rename…',
    menuRemove: 'Delete…',
    /** @param {string} size */
    most: (size) => `${size} a file`,
    upload: 'Upload files or a zip…',
    uploadFolder: 'Upload a folder…',
    makeFolder: 'New folder…',
    downloadProject: 'Download the project',
    downloadAll: 'Download with what programs made',
    zip: 'zip',
    notSent: 'A change of the files did not reach the session.',
    /** @param {string} path */
    failed: (path) => `“${path}”: that did not work.`,
    /** @param {string} path */
    noText: (path) => `A program wrote “${path}”, and it is no text now.`,
    noTextDetail: 'Programs have theirs until you choose.',
    /** @param {string} path */
    changedTwice: (path) => `“${path}” was changed by a program and by you.`,
    changedTwiceDetail: 'Programs have their version until you choose.',
    mine: 'Keep mine',
    theirs: 'Take the program’s',
    notDownloaded: 'The file could not be downloaded.',
    gone: 'It is not there any more.',
  },

  names: {
    missing: 'A file needs a name.',
    slash: 'A name must not begin with “/”.',
    character: 'The name has a character that cannot be used.',
    part: 'A part of the name between “/” is missing, “.” or “..”.',
    long: 'The name is too long.',
    deep: 'There are too many folders in one another.',
    file: 'There is a file of this name already.',
    folder: 'There is a folder of this name already.',
    /** @param {string} path */
    noFolder: (path) => `“${path}” is a file, not a folder.`,
    twins: 'There are two files of this name.',
  },

  upload: {
    failed: 'The upload did not work.',
    unread: 'What was dropped could not be read.',
    unpack: 'Unpack the archive?',
    /** @param {string} path @param {string} size */
    unpackText: (path, size) => `“${path}” (${size}) can be unpacked, or kept as one file.`,
    unpackOk: 'Unpack',
    keepOne: 'Keep as one file',
    tooMuch: 'That is too much at once.',
    /** @param {number} most @param {string} mostSize @param {number} count @param {string} size */
    tooMuchDetail: (most, mostSize, count, size) => `At most ${files(most)} and ${mostSize}; these are ${number(count)} with ${size}.`,
    /** @param {string} path */
    notTaken: (path) => `“${path}” cannot be taken.`,
    nothing: 'Nothing was uploaded.',
    empty: 'There is no file in it.',
    /** @param {string} paths @param {string} size */
    leftOut: (paths, size) => `Left out: ${paths}. A file may have ${size} at most.`,
    /** @param {string[]} paths @param {number} more */
    named: (paths, more) => `${paths.map((path) => `“${path}”`).join(', ')}${more ? ` and ${number(more)} more` : ''}`,
    /** @param {number} count */
    replace: (count) => plural(count, { one: 'Replace the file?', other: `Replace ${number(count)} files?` }),
    /** @param {string} paths @param {number} count */
    replaceText: (paths, count) => plural(count, { one: `${paths} is there already.`, other: `${paths} are there already.` }),
    replaceOk: 'Replace',
    /** @param {number} count */
    done: (count) => `${files(count)} uploaded.`,
    noSession: 'There is no session to put them in.',
    noZip: 'This is not a zip archive, or it is broken.',
    /** @param {number} count @param {number} most */
    zipMany: (count, most) => `The archive has ${files(count)}; at most ${number(most)} can be taken.`,
    zipLarge: 'The archive unpacks to more than can be taken.',
    /** @param {string} path @param {string} why */
    zipFile: (path, why) => `“${path}”: ${why}.`,
    zipEncrypted: 'it is encrypted',
    zipUnknown: 'it is packed in a way that is not known here',
    zipSum: 'it is damaged: its sum is wrong',
    zipDamaged: 'it is damaged',
    zipBroken: 'it cannot be unpacked, as the archive is broken',
  },

  editor: {
    title: 'Editor',
    none: 'No file is open',
    noneText: 'Choose one of the project’s files, or make a new one.',
    width: 'Width of the output',
    openFiles: 'Open files',
    /** @param {string} path */
    closeFile: (path) => `Close ${path}`,
    /** @param {string} path */
    madeFile: (path) => `${path}, made by a program`,
    /** @param {string} path */
    codeOf: (path) => `Code of ${path}`,
    /** @param {number} line @param {number} column */
    at: (line, column) => `Line ${line}, column ${column}`,
    /** The editor's own texts, by its keys. @type {Record<string, string>} */
    phrases: {
      Find: 'Find', Replace: 'Replace', next: 'next', previous: 'previous', all: 'all', 'match case': 'match case', regexp: 'regexp',
      'by word': 'by word', replace: 'replace', 'replace all': 'replace all', close: 'close', 'current match': 'current match',
      'replaced $ matches': 'replaced $ matches', 'replaced match on line $': 'replaced match on line $', 'on line': 'on line',
      'Go to line': 'Go to line', go: 'go', Completions: 'Completions', Diagnostics: 'Diagnostics', 'No diagnostics': 'No diagnostics',
      'Fold line': 'Fold line', 'Unfold line': 'Unfold line', 'Folded lines': 'Folded lines', 'Unfolded lines': 'Unfolded lines',
      'folded code': 'folded code', unfold: 'unfold', to: 'to', 'Control character': 'Control character', 'Selection deleted': 'Selection deleted',
    },
  },
};
