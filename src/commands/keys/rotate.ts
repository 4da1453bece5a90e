import { randomBytes } from 'node:crypto'
import { Flags } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { EXIT } from '../../cli/exit-codes.ts'
import {
  askNodes,
  askOwnCluster,
  confirm,
  loadOperator,
  operatorFlags,
  sendStatements,
} from '../../cli/operator.ts'
import { json, localEnvelope, note, print, warn } from '../../cli/output.ts'
import { syncedOf, waitSynced } from '../../cli/wait-synced.ts'

const GRACE_MS = 60_000

export default class KeysRotate extends BaseCommand {
  static override summary = 'Replace the cluster secret while everything runs.'
  static override description =
    `The earlier secret is accepted for another minute. A node whose agent cannot be heard misses the change, unless it is
back within that minute, so with such nodes the command asks first; a node that missed it comes back with shunt join TOKEN, which keeps its identity and node file. Waits until
all other nodes know the secret: exit code 124 if one does not in time.`
  static override examples = ['<%= config.bin %> keys rotate']
  static override flags = {
    ...operatorFlags,
    wait: Flags.integer({
      description: 'How long to wait for the other nodes, in milliseconds; 0 does not wait.',
      default: 10_000,
      min: 0,
      max: 3_600_000,
      helpValue: 'MS',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(KeysRotate)
    const operator = await loadOperator(flags)
    const cluster = await askOwnCluster(flags.socket, operator)
    const { away } = syncedOf(await askNodes(flags.socket))
    if (away.length > 0)
      await confirm(
        `The agent of ${away.join(', ')} cannot be heard and would miss the new secret, unless it is back within the overlap (${GRACE_MS / 1000} s). Rotate all the same?`,
        flags,
      )
    const number = cluster.secretNumber + 1
    const secret = randomBytes(32).toString('base64')
    await sendStatements(
      flags.socket,
      [{ kind: 'secret', number, secret, graceMs: GRACE_MS, excludes: [], atMs: Date.now() }],
      operator,
    )
    const interrupted = new AbortController()
    const onSignal = (): void => interrupted.abort()
    process.once('SIGINT', onSignal)
    try {
      const synced = await waitSynced(flags.socket, flags.wait, interrupted.signal)
      if (flags.json)
        print(
          json(
            localEnvelope('shunt.keys-rotate/1', { number, graceMs: GRACE_MS, ...synced }, cluster.node.name),
            true,
          ),
        )
      else print(`secret ${number} is in the cluster; the earlier one ends in ${GRACE_MS / 1000} s`)
      for (const name of synced.away)
        warn(
          `${name} misses it, unless it is back within the overlap (${GRACE_MS / 1000} s); after that, run shunt join TOKEN there, with a new token`,
        )
      if (flags.wait === 0) return
      for (const name of synced.behind) warn(`${name} does not know it yet`)
      if (synced.away.length > 0) process.exitCode = EXIT.DEGRADED
      if (synced.behind.length > 0) process.exitCode = EXIT.TIMEOUT
    } catch (error) {
      if (!interrupted.signal.aborted) throw error
      note(`stopped waiting; secret ${number} goes on to the other nodes`)
      process.exitCode = EXIT.INTERRUPTED
    } finally {
      process.off('SIGINT', onSignal)
    }
  }
}
