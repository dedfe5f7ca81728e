// What the operator's charts use of uPlot; bundled to static/dist/uplot.js.
export { default as UPlot } from 'uplot';
