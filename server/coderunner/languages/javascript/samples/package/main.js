import { square } from "./src/square.js";

const [number, ...rest] = process.argv.slice(2);
console.log(`${process.env.MODE}: ${number} squared is ${square(Number(number))}, ${rest.join(" ")}`);
