import { existsSync } from 'node:fs'
import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { ShuntError } from '../errors.ts'

export default class Keygen extends BaseCommand {
  static override summary = "Make a node's identity, or a cluster secret, and print the peer id."
  static override description =
    `Each node has an identity of its own; the cluster secret is made once and copied to every node.
The files get mode 0600; a file that exists is never overwritten (exit code 5).`
  static override examples = [
    '<%= config.bin %> keygen --identity /etc/shunt/identity.key --secret /etc/shunt/cluster.secret',
    '<%= config.bin %> keygen --show --identity /etc/shunt/identity.key',
  ]
  static override flags = {
    identity: Flags.string({ description: 'Make an identity in this file.', helpValue: 'FILE' }),
    secret: Flags.string({
      description: 'Make a cluster secret in this file.',
      helpValue: 'FILE',
      exclusive: ['show'],
    }),
    show: Flags.boolean({
      description: 'Make nothing: print the peer id of the identity that is there.',
      dependsOn: ['identity'],
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Keygen)
    const files = [flags.identity, flags.secret].filter(f => f !== undefined)
    if (files.length === 0)
      throw new ShuntError('SHUNT_ERR_USAGE', 'nothing to make: give --identity FILE, --secret FILE or both')
    if (files.length === 2 && files[0] === files[1])
      throw new ShuntError('SHUNT_ERR_USAGE', '--identity and --secret must be two files')
    // Both are looked at first, so that a refusal leaves nothing half made.
    const there = flags.show ? undefined : files.find(f => existsSync(f))
    if (there !== undefined)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${there} exists and is not overwritten; remove it first if it is no longer needed`,
      )
    const { createIdentity, createSecret, peerIdOf } = await import('../gossip/identity.ts')
    let peerId: string | null = null
    if (flags.identity !== undefined) peerId = await (flags.show ? peerIdOf : createIdentity)(flags.identity)
    if (flags.secret !== undefined) createSecret(flags.secret)
    if (flags.json) {
      const data = { peerId, identityFile: flags.identity ?? null, secretFile: flags.secret ?? null }
      print(json(localEnvelope('shunt.keygen/1', data), true))
      return
    }
    if (!flags.show) for (const file of files) note(`wrote ${file}; keep it private`)
    if (peerId !== null) print(peerId)
  }
}
