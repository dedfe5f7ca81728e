console.log("before");
throw new Error("something broke");
