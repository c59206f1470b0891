/** What `doctor` finds of execution nodes, consensus nodes and IPFS gateways. Each is asked by itself. */

import { createIpfsClient } from '@dvt-relayer/chain/ipfs/ipfs.ts'
import { lookAtConsensusNode, lookAtExecutionNode } from '@dvt-relayer/chain/look-at-nodes.ts'
import { messageOf } from '@dvt-relayer/common/errors.ts'
import { type EndpointLook, endpointsFinding, finding } from '@dvt-relayer/common/findings.ts'
import type { RelayerConfig } from '../config.ts'
import type { Finding } from './findings.ts'
import type { OracleConfigs } from './logs/oracle-set.ts'

/** Nobody who asks a doctor waits for a node as long as a relayer may. */
const PATIENCE_MS = 15_000
const patience = (timeoutMs: number) => Math.min(timeoutMs, PATIENCE_MS)

/** The execution nodes: on our chain, and not stopped? */
export async function examineExecution(
  { execution: { endpoints, timeoutMs }, network }: RelayerConfig,
  signal: AbortSignal,
): Promise<Finding> {
  const ask = { timeoutMs: patience(timeoutMs), network }
  return endpointsFinding(
    'execution',
    await Promise.all(endpoints.map((endpoint) => lookAtExecutionNode(endpoint, ask, signal))),
  )
}

/** The consensus nodes: on our chain, with our spec, in step with the clock? */
export async function examineConsensus({
  consensus: { endpoints, timeoutMs },
  network,
}: RelayerConfig): Promise<Finding> {
  const ask = { timeoutMs: patience(timeoutMs), network }
  return endpointsFinding(
    'consensus',
    await Promise.all(endpoints.map((endpoint) => lookAtConsensusNode(endpoint, ask))),
  )
}

/** The gateways: does each give the oracle config in force, in a form that its CID proves? */
export async function examineIpfs(
  { ipfs }: RelayerConfig,
  { current, announced }: OracleConfigs,
  signal: AbortSignal,
): Promise<Finding> {
  const cid = current?.cid ?? (await announced).newest?.cid
  if (cid === undefined)
    return finding(
      'ipfs',
      'warning',
      'which oracle config the Keeper has announced is not known, so that no gateway was asked for it: see what is said of the execution node',
    )
  const look = async (endpoint: URL): Promise<EndpointLook> => {
    const { host } = endpoint
    const client = createIpfsClient({ endpoints: [endpoint], timeoutMs: patience(ipfs.timeoutMs), retryTimeoutMs: 0 })
    try {
      const { verification } = await client.fetchContent(cid, { what: 'the oracle config' }, signal)
      const words = `${host} gives the oracle config ${cid}`
      if (verification === 'verified') return { host, words }
      return {
        host,
        words,
        doubt: `${host} does not give what proves it: set one in IPFS_FETCH_ENDPOINTS that serves raw blocks`,
      }
    } catch (error) {
      return { host, words: '', problem: `${messageOf(error)} (IPFS_FETCH_ENDPOINTS)` }
    }
  }
  return endpointsFinding('ipfs', await Promise.all(ipfs.endpoints.map(look)))
}
