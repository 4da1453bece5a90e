/** The clock of the traffic program: CLOCK_MONOTONIC, in milliseconds. */
export const clockMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000
