import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { ShuntError } from '../errors.ts'

const ABSENT = /No such file or directory/

/**
 * Carries out nft commands in one atomic transaction, in the calling thread's network namespace. Throws ShuntError:
 * SHUNT_ERR_NFT with nft's message, SHUNT_ERR_CAPABILITY without the nft command.
 */
export const applyRuleset = async (ruleset: string): Promise<void> => {
  const complaint = await nft(ruleset)
  if (complaint !== null) {
    throw new ShuntError('SHUNT_ERR_NFT', `nft refused the ruleset, nothing was changed: ${complaint}`)
  }
}

/** Removes a table with all that is in it; one that is not there is success. Throws as `applyRuleset` does. */
export const deleteTable = async (family: string, name: string): Promise<void> => {
  const complaint = await nft(`delete table ${family} ${name}\n`)
  if (complaint !== null && !ABSENT.test(complaint)) {
    throw new ShuntError('SHUNT_ERR_NFT', `nft did not delete table ${family} ${name}: ${complaint}`)
  }
}

/** Whether there is a table. Throws as `applyRuleset` does. */
export const hasTable = async (family: string, name: string): Promise<boolean> =>
  (await nft(`list table ${family} ${name}\n`)) === null

/** Runs `nft -f -`; answers null, or what it complained about. */
const nft = async (input: string): Promise<string | null> => {
  const child = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  child.stdin.on('error', () => {}) // nft may stop reading at an error; its exit status tells
  child.stdin.end(input)
  try {
    const [status, complaint] = await Promise.all([ended, text(child.stderr)])
    return status === 0 ? null : complaint.trim() || `exit status ${status}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new ShuntError('SHUNT_ERR_CAPABILITY', 'the nft command is missing: install the nftables package', {
      cause: error,
    })
  }
}
