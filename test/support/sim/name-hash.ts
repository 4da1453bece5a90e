/** What stands for a member's name in a simulation, the same in each run of it (FNV-1a, 32 bits). */
export const nameHash = (name: string): number =>
  [...name].reduce((hash, c) => Math.imul(hash ^ c.charCodeAt(0), 0x01000193) >>> 0, 0x811c9dc5)
