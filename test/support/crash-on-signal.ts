// Loaded ahead of a program whose crash a test wants to see.
process.on('SIGUSR2', () => {
  throw new Error('broken');
});
