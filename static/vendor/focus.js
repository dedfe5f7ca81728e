// What menus, tabs and the tree use of @primer/behaviors; bundled to static/dist/focus.js.
export { FocusKeys, focusZone } from '@primer/behaviors';
