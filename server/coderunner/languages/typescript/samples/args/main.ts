process.argv.slice(2).forEach((argument: string, index: number) => {
  console.log(`${index + 1} ${argument}`);
});
