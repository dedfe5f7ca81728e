for (const word of ["Grüße", "Привет", "こんにちは", "🙂"]) {
  console.log(`${word} ${[...word].length}`);
}
