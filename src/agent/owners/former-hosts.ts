/** Which hosts a service has had while this agent ran: the connections of one that was taken out of it go on there. Pure. */
import type { NodeConfig } from '../../config/schema.ts'

type Config = Pick<NodeConfig, 'node' | 'roles' | 'peers' | 'services'>

export class FormerHosts {
  readonly #hosts = new Map<string, Set<string>>()
  #config: Config | null = null

  /** Another configuration: services that are gone are forgotten, and nodes that are no hosts any more. */
  follow(config: Config): void {
    if (this.#config === config) return
    this.#config = config
    const { node, roles, peers, services } = config
    const still = new Set(
      [{ name: node.name, roles }, ...peers]
        .filter(each => each.roles.includes('host'))
        .map(({ name }) => name),
    )
    const names = new Set(services.map(({ name }) => name))
    for (const name of this.#hosts.keys()) if (!names.has(name)) this.#hosts.delete(name)
    for (const { name, hosts } of services) {
      const known = [...(this.#hosts.get(name) ?? []), ...hosts.map(host => host.name)]
      this.#hosts.set(name, new Set(known.filter(host => still.has(host))))
    }
  }

  /** Names of those that the service has or had. */
  of(service: string): Set<string> {
    return new Set(this.#hosts.get(service) ?? [])
  }
}
