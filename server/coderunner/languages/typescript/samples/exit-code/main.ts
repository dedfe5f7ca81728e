console.log("leaving with 7");
process.exit(7);
