import { createInterface } from "readline";

const terminal = createInterface({ input: process.stdin, output: process.stdout });
terminal.question("What is your name? ", (name: string) => {
  console.log(`Hello, ${name}!`);
  terminal.close();
});
