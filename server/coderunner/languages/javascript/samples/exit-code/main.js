console.log("leaving with 7");
process.exitCode = 7;
