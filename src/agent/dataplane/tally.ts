/** Flows now, closing ones left out, connections ever, and what the agent itself sent, by host index and by service index. */
export class Tally {
  readonly hostFlows: number[] = []
  readonly hostConnections: number[] = []
  readonly hostPackets: number[] = []
  readonly hostBytes: number[] = []
  readonly serviceFlows: number[] = []
  readonly serviceConnections: number[] = []

  /** A packet left by the slow path; `bytes` of the IP packet. */
  sent(host: number, bytes: number): void {
    bump(this.hostPackets, host, 1)
    bump(this.hostBytes, host, bytes)
  }

  assigned(host: number, service: number): void {
    bump(this.hostConnections, host, 1)
    bump(this.serviceConnections, service, 1)
  }

  /** A new connection on a flow that is there already. */
  reused(host: number, service: number): void {
    bump(this.hostConnections, host, 1)
    bump(this.serviceConnections, service, 1)
  }

  /** `by`: 1 for a flow that opens or opens again, -1 for one that closes or is gone. */
  open(host: number, service: number, by: 1 | -1): void {
    bump(this.hostFlows, host, by)
    bump(this.serviceFlows, service, by)
  }

  /** The index may get another meaning. */
  forgetHost(host: number): void {
    forget(host, this.hostFlows, this.hostConnections, this.hostPackets, this.hostBytes)
  }

  forgetService(service: number): void {
    forget(service, this.serviceFlows, this.serviceConnections)
  }
}

const forget = (at: number, ...counts: number[][]): void => {
  for (const count of counts) if (at < count.length) count[at] = 0
}

const bump = (counts: number[], at: number, by: number): void => {
  while (counts.length <= at) counts.push(0)
  counts[at] += by
}
