import { square } from "./square.js";

const number = Number(process.argv[2]);
console.log(`${number} squared is ${await square(number)}`);
