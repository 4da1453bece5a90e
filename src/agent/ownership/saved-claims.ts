/** Claims of VIPs in the state directory: the next agent goes on with them. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { MAX_GENERATION } from '../../ownership/generation.ts'
import type { Claim } from '../../ownership/types.ts'

const claim = z.object({
  vip: z.string(),
  generation: z.int().min(1).max(MAX_GENERATION),
  holder: z.string(),
  ordered: z.boolean(),
  death: z.boolean(),
  support: z.int().min(0),
  brief: z.literal(true).exactOptional(),
})
const shape = z.object({ version: z.literal(1), claims: z.array(claim) })

const pathOf = (stateDir: string): string => join(stateDir, 'vips.json')

/** None where there is no such file, or it is damaged: the others know the claims too. */
export const readClaims = (stateDir: string): Claim[] => {
  try {
    return shape.parse(JSON.parse(readFileSync(pathOf(stateDir), 'utf8'))).claims
  } catch {
    return []
  }
}

export const forgetClaims = (stateDir: string): void => rmSync(pathOf(stateDir), { force: true })

/** Whole, then renamed. Not waited for by the disk: what a crash of the machine takes away the others know. */
export const writeClaims = (stateDir: string, claims: readonly Claim[]): void => {
  const path = pathOf(stateDir)
  writeFileSync(`${path}.new`, JSON.stringify({ version: 1, claims }), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
