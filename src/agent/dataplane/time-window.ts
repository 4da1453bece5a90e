/**
 * Largest difference (s) between a mapping message's time and ours: half of the quarantine, so that an old message can never contradict a newer
 * owner of its identifier (decision 6).
 */
export const timeWindowS = (quarantineMs: number): number =>
  Math.max(1, Math.min(30, Math.floor(quarantineMs / 2000)))
