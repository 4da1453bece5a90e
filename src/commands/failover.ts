import { isIP } from 'node:net'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { duration } from '../cli/format.ts'
import { socketFlag } from '../cli/operator.ts'
import { json, print } from '../cli/output.ts'
import { pathAt } from '../cli/path-at.ts'
import type { FailoverData } from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import { formatAddress, parseAddress } from '../os/inet.ts'

const NAME = /^[a-z0-9-]{1,63}$/

export default class Failover extends BaseCommand {
  static override summary = 'Move a virtual IP that is announced by ARP to another forwarder.'
  static override description =
    `A forwarder carries it out, any of them: on another node name one with --node. The new holder answers ARP (for IPv6 neighbour discovery) for the virtual IP and says so to the network and to the
other forwarders; the former one goes on until it has heard of that, so that at no time nobody answers. The command waits until then. What it tells is the time from
the order until the new holder said that it answers; what clients notice depends on how soon the network believes it.

The virtual IP stays there, without end: it is not moved to even out shares, and shunt vips says (ordered). When its new holder dies or leaves the order is forgotten; the same command moves it elsewhere, and
--release ends the order: the virtual IP stays where it is at first, and goes where even shares want it (timeouts.vipHold). A living holder needs no reason to give it up; a virtual IP that is there already stays, and is not moved from then on.
Exit code 5 when it cannot go there, 1 when it is not in force within 5 s.`
  static override examples = [
    '<%= config.bin %> failover 192.0.2.10',
    '<%= config.bin %> failover 192.0.2.10 --to f2',
    '<%= config.bin %> failover 192.0.2.10 --release',
    '<%= config.bin %> failover 192.0.2.10 --node f1',
  ]
  static override args = {
    vip: Args.string({ description: 'The virtual IP.', required: true, name: 'VIP' }),
  }
  static override flags = {
    socket: socketFlag,
    node: Flags.string({
      description: 'Order it by way of this node, a forwarder.',
      helpValue: 'NAME',
    }),
    to: Flags.string({
      description: 'Forwarder that is to hold it; default: the one that would if its holder died.',
      helpValue: 'NODE',
    }),
    release: Flags.boolean({
      description: 'End the order that keeps it where it is; nothing moves at once.',
      exclusive: ['to'],
    }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Failover)
    if (isIP(args.vip) === 0 || args.vip.includes('%'))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `VIP is an IP address, not ${JSON.stringify(args.vip)}; shunt vips shows them`,
      )
    if (flags.to !== undefined && !NAME.test(flags.to))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `--to is the name of a forwarder (1 to 63 of a-z, 0-9 and -), not ${JSON.stringify(flags.to)}; shunt nodes shows them`,
      )
    const { post } = await import('../control/client.ts')
    // As documents and agents write it.
    const vip = formatAddress(parseAddress(args.vip))
    const body = {
      vip,
      ...(flags.to !== undefined && { to: flags.to }),
      ...(flags.release && { release: true }),
    }
    const envelope = await post(flags.socket, pathAt('/v1/failover', flags.node), body).catch(error => {
      // The order is understood, and cannot be followed.
      if (error instanceof ShuntError && error.code === 'SHUNT_ERR_STATEMENT')
        throw new ShuntError('SHUNT_ERR_GUARD', error.message)
      throw error
    })
    const data = envelope.data as FailoverData
    if (flags.json) return print(json(envelope, true))
    const { from, to, changed, tookMs } = data
    if (flags.release)
      return print(
        `${to} holds ${vip}, and no order keeps it there any more: even shares decide (shunt vips)`,
      )
    if (!changed) return print(`${to} holds ${vip} already, and it stays there`)
    print(
      `${to} holds ${vip}, ${duration(tookMs)} after the order${from === null ? '; nobody did before' : `; ${from} did before`}`,
    )
  }
}
