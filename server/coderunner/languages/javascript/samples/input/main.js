const readline = require("node:readline/promises");

async function main() {
  const terminal = readline.createInterface({ input: process.stdin, output: process.stdout, terminal: false });
  const name = await terminal.question("What is your name? ");
  console.log(`Hello, ${name}!`);
  terminal.close();
}

main();
