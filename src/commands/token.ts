import { randomBytes } from 'node:crypto'
import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { parseDuration } from '../cli/duration.ts'
import { count, duration } from '../cli/format.ts'
import { askOwnCluster, loadOperator, operatorKeyFlag, socketFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { parseRoles } from '../cli/setup-flags.ts'

const MIN_EXPIRY_MS = 10_000
const MAX_EXPIRY_MS = 30 * 86_400_000

export default class Token extends BaseCommand {
  static override summary = 'Make a token with which other machines join the cluster.'
  static override description =
    `Prints the token alone on standard output. It is redeemed at the node whose agent is asked here (shunt join
TOKEN, on the new machine), which counts its uses and must run then. Whoever has the token can join as what it allows: pass it on
like a password.`
  static override examples = [
    '<%= config.bin %> token',
    '<%= config.bin %> token --uses 10 --expires 1d --roles host',
  ]
  static override flags = {
    socket: socketFlag,
    'operator-key': operatorKeyFlag,
    uses: Flags.integer({
      description: 'How many machines may join with it.',
      default: 1,
      min: 1,
      max: 1000,
      helpValue: 'N',
    }),
    expires: Flags.string({
      description: 'How long it lasts: 10s to 30d.',
      default: '1h',
      helpValue: 'TIME',
    }),
    roles: Flags.string({
      description: 'Roles that those who join may have.',
      default: 'forwarder,classifier,host',
      helpValue: 'ROLE,...',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Token)
    const roles = parseRoles(flags.roles)
    const lifeMs = parseDuration(flags.expires, '--expires', MIN_EXPIRY_MS, MAX_EXPIRY_MS)
    const operator = await loadOperator(flags)
    const { cluster, node } = await askOwnCluster(flags.socket, operator)
    const [{ nanoid }, { encodeToken }, { tokenBytes }, { post }] = await Promise.all([
      import('nanoid'),
      import('../cluster/token.ts'),
      import('../cluster/statement.ts'),
      import('../control/client.ts'),
    ])
    const issuedMs = Date.now()
    const expiresMs = issuedMs + lifeMs
    const body = { token: nanoid(), issuer: node.id, roles, uses: flags.uses, issuedMs, expiresMs }
    const registration = {
      cluster: cluster!,
      body,
      signature: Buffer.from(operator.sign(tokenBytes(cluster!, body))).toString('base64'),
      secret: randomBytes(32).toString('base64'),
    }
    await post(flags.socket, '/v1/tokens', registration)
    const token = encodeToken({ ...registration, address: node.address, port: node.controlPort })
    if (flags.json) {
      const data = {
        token,
        issuer: node.name,
        address: node.address,
        port: node.controlPort,
        roles,
        uses: flags.uses,
        expiresAt: new Date(expiresMs).toISOString(),
      }
      print(json(localEnvelope('shunt.token/1', data, node.name), true))
      return
    }
    print(token)
    note(
      `for ${count(flags.uses, 'machine')} as ${roles.join(', ')}, for ${duration(lifeMs)}, at ${node.name} (${node.address}:${node.controlPort}); there: shunt join TOKEN`,
    )
  }
}
