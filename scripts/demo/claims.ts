/** What the demo claims about a load balancer, each judged from what was measured. Pure. */

/** What one curl said about one request. */
export interface Answer {
  /** HTTP status; 0 when there was no answer. */
  status: number
  /** Connections that curl opened for it. */
  connects: number
  host: string
}

/** One line of a host's web log. */
export interface LogLine {
  host: string
  client: string
  status: number
  path: string
  /** Where the client had connected to. */
  server: string
  /** Number of the connection, unique on its host. */
  connection: string
}

export interface Claim {
  ok: boolean
  text: string
}

/** A host's share of the new connections, 0 to 1. */
export interface Share {
  host: string
  capacity: number
  connections: number
  wanted: number
  got: number
}

/** Lines of `--write-out '%{http_code} %{num_connects} %header{x-host}\n'`. */
export const parseAnswers = (text: string): Answer[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [status, connects, host] = line.split(' ')
      return { status: Number(status), connects: Number(connects), host: host ?? '' }
    })

/** Lines of the lab's web log: `$remote_addr $status $method $uri $remote_port $server_addr $connection`. */
export const parseLog = (host: string, text: string): LogLine[] =>
  text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [client, status, , path, , server, connection] = line.split(' ')
      return { host, client, status: Number(status), path, server, connection }
    })

export const sharesOf = (answers: Answer[], capacities: ReadonlyMap<string, number>): Share[] => {
  const total = [...capacities.values()].reduce((sum, c) => sum + c, 0)
  return [...capacities].map(([host, capacity]) => {
    const connections = answers.filter(a => a.status === 200 && a.host === host).length
    return {
      host,
      capacity,
      connections,
      wanted: capacity / total,
      got: connections / Math.max(1, answers.length),
    }
  })
}

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`
const mib = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`

export const allAnswered = (answers: Answer[], asked: number): Claim => {
  const failed = asked - answers.filter(a => a.status === 200).length
  return {
    ok: failed === 0 && answers.length === asked,
    text: `${asked} requests from a real client to the virtual IP: ${failed} failed`,
  }
}

/** Judged on both ends: curl counts what it opened, the hosts' logs number what they accepted. */
export const ownConnections = (answers: Answer[], log: LogLine[]): Claim => {
  const opened = answers.reduce((sum, a) => sum + a.connects, 0)
  const accepted = new Set(log.map(line => `${line.host} ${line.connection}`)).size
  return {
    ok: opened === answers.length && accepted === answers.length,
    text: `each had a connection of its own: ${opened} opened, ${accepted} accepted`,
  }
}

/** @param tolerance largest difference of a share, 0 to 1 */
export const followsCapacities = (shares: Share[], tolerance: number): Claim => {
  const off = Math.max(...shares.map(s => Math.abs(s.got - s.wanted)))
  return {
    ok: off <= tolerance && shares.every(s => s.capacity === 0 || s.connections > 0),
    text: `connections follow the capacities: largest difference ${percent(off)} (allowed ${percent(tolerance)})`,
  }
}

export const trueClient = (log: LogLine[], client: string, vip: string): Claim => {
  const right = log.filter(line => line.client === client && line.server === vip).length
  return {
    ok: right === log.length && log.length > 0,
    text: `hosts saw the client's own address ${client} and the virtual IP in ${right} of ${log.length} requests`,
  }
}

/**
 * A connection sends at least four packets to the virtual IP (SYN, ACK, request, FIN); half of a fair share is asked
 * of each forwarder, since the router hashes.
 */
export const everyForwarderWorked = (rxPackets: ReadonlyMap<string, number>, connections: number): Claim => {
  const least = (connections * 4) / rxPackets.size / 2
  const all = [...rxPackets.values()].reduce((sum, n) => sum + n, 0)
  const parts = [...rxPackets].map(([name, n]) => `${name} ${percent(n / Math.max(1, all))}`)
  return {
    ok: [...rxPackets.values()].every(n => n >= least),
    text: `every forwarder carried traffic: ${parts.join(', ')}`,
  }
}

/** @param forwarded all bytes that the forwarders received and sent meanwhile */
export const bypassed = (downloaded: number, sentByHosts: number, forwarded: number): Claim => ({
  ok: sentByHosts >= downloaded && forwarded <= downloaded / 10,
  text: `responses bypassed the forwarders: hosts sent ${mib(sentByHosts)}, forwarders saw ${mib(forwarded)}`,
})

export const intact = (sums: string[], wanted: string, bytes: number): Claim => {
  const good = sums.filter(sum => sum === wanted).length
  return {
    ok: sums.length > 0 && good === sums.length,
    text: `${good} of ${sums.length} downloads of ${mib(bytes)} were byte-exact`,
  }
}

const gotOf = (host: string, answers: Answer[]): number => answers.filter(a => a.host === host).length

/** @param answers to connections that were made after the drain was over */
export const drainedGotNone = (host: string, answers: Answer[], asked: number): Claim => {
  const got = gotOf(host, answers)
  return {
    ok: got === 0 && allAnswered(answers, asked).ok,
    text: `of ${asked} new connections the drained ${host} got ${got}`,
  }
}

/** @param answers to connections that were made after the undrain was over */
export const undrainedGotSome = (host: string, answers: Answer[], asked: number): Claim => {
  const got = gotOf(host, answers)
  return {
    ok: got > 0 && allAnswered(answers, asked).ok,
    text: `of ${asked} new connections the undrained ${host} got ${got}`,
  }
}

export const noneFailed = (when: string, made: number, failed: number): Claim => ({
  ok: made > 0 && failed === 0,
  text: `${made} connections ${when}: ${failed} failed`,
})
