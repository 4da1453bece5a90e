/** The application of raw-server.ts on the hosts of a lab, at a port where the lab's own web servers do not listen. */
import { once } from 'node:events'
import type { Lab } from '../../src/lab/lab.ts'
import type { Configure } from '../../src/lab/nodes.ts'
import { program, VIP } from './traffic.ts'

export const RAW_PORT = 9000

/** Adds the service to a node file, with the hosts of its first one. */
export const withRaw =
  (more: Configure = () => {}): Configure =>
  (config, node) => {
    const [web] = config.services!
    config.services!.push({ ...web!, name: 'raw', port: RAW_PORT })
    more(config, node)
  }

/** On every host; ends with the lab. */
export const startRaw = async (lab: Lab): Promise<void> => {
  for (const host of lab.hosts) {
    const child = lab.spawn(host.name, [...program('raw-server.ts'), '0.0.0.0', String(RAW_PORT), host.name])
    child.unref()
    await once(child.stdout!, 'data')
  }
}

export const rawClient = async <T>(lab: Lab, client: string, ...args: (string | number)[]): Promise<T> => {
  const argv = [...program('raw-client.ts'), VIP, String(RAW_PORT), ...args.map(String)]
  const ended = await lab.exec(client, argv)
  if (ended.code !== 0)
    throw new Error(`raw-client ${args.join(' ')}: exit code ${ended.code}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as T
}
