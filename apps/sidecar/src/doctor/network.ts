/** What `doctor` finds of everything that is asked over the network: relayer, nodes, remote signers. Each is asked by itself. */

import { routes } from '@dvt-relayer/api/routes.ts'
import { Info } from '@dvt-relayer/api/schemas.ts'
import { lookAtConsensusNode, lookAtExecutionNode } from '@dvt-relayer/chain/look-at-nodes.ts'
import type { Authenticate } from '@dvt-relayer/client/authentication.ts'
import type { Requests } from '@dvt-relayer/client/requests.ts'
import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { count, type EndpointLook, endpointsFinding, finding } from '@dvt-relayer/common/findings.ts'
import { type HttpAnswer, HttpError, parseAnswer } from '@dvt-relayer/common/http/client.ts'
import { Compile } from 'typebox/compile'
import type { KeymanagerConfig } from '../config/keymanager.ts'
import { LISTS, type ListName, type SidecarConfig } from '../config.ts'
import type { Finding } from '../findings.ts'
import { askPublicKeys as askClientKeys } from '../keystores/keymanager/api.ts'
import { keymanagerOptions } from '../keystores/keymanager/keymanager.ts'
import { askPublicKeys, askWhetherUp } from '../keystores/remote/api.ts'
import { createSignerHttp } from '../keystores/remote/signer-http.ts'
import { readTlsMaterial, type TlsMaterial } from '../keystores/remote/tls.ts'
import { meaningOf } from '../lists/identity.ts'
import { findRelayer, openRelayer, relayerTlsHint } from '../lists/relayer-http.ts'

/** A clock may be off by this much, an answer's way and its whole seconds included. */
const CLOCK_MS = 5000
/** A list of the relayer may be as long as this. */
const MAX_LIST_BYTES = 64 * 1024 * 1024
const MONTH_MS = 30 * 86_400_000

const infoCheck = Compile(Info)

/** The relayer: is it there, of our network, does it let us in, which lists has it, is its clock ours? */
export async function examineRelayer(
  config: SidecarConfig,
  sign: Authenticate | undefined,
  signal: AbortSignal,
): Promise<Finding> {
  const { relayer, network, generation } = config
  const { host } = relayer.endpoint
  const problem = (message: string, facts: Finding['facts'] = {}) =>
    finding('relayer', 'problem', message, { facts: { host, ...facts } })
  try {
    const ask = await openRelayer(await findRelayer(relayer), sign, { maxBytes: MAX_LIST_BYTES })
    const info = await ask(askFor(routes.getInfo, signal))
    const differenceMs = clockDifference(info)
    const value = await parse(info)
    if (!infoCheck.Check(value))
      return problem(`${host} does not answer GET /info as a relayer does: is RELAYER_ENDPOINT right?`)
    if (value.network !== network.name)
      return problem(
        `the relayer at ${host} is of another network than NETWORK=${network.name}: correct RELAYER_ENDPOINT or NETWORK`,
      )
    const lists = await findLists(ask, signal)
    const facts = {
      host,
      network: value.network,
      lists: lists.map((name) => `GET /${name}`).join(', '),
      clock_difference_seconds: differenceMs === undefined ? null : Math.round(differenceMs / 1000),
    }
    const wanted = config.lists.filter((name) => !lists.includes(name))
    if (lists.length === 0) return problem(`the relayer at ${host} has neither GET /exits nor GET /validators`, facts)
    if (generation !== 'auto' && wanted.length > 0)
      return problem(
        `the relayer at ${host} does not have GET /${wanted[0]}, which GENERATION=${generation} needs: unset GENERATION`,
        facts,
      )
    const message = `${host} is of ${value.network} and has ${facts.lists}`
    const off = differenceMs !== undefined && Math.abs(differenceMs) > CLOCK_MS
    if (!off) return finding('relayer', 'good', message, { facts })
    const seconds = Math.round(Math.abs(differenceMs) / 1000)
    const details = [
      `the relayer's clock is ${seconds} s ${differenceMs > 0 ? 'ahead of' : 'behind'} this machine's: set both by NTP`,
    ]
    return finding('relayer', 'warning', message, { details, facts })
  } catch (error) {
    return problem(relayerProblem(error, relayer.caFile))
  }
}

function relayerProblem(error: unknown, caFile: string | undefined): string {
  if (error instanceof BootError) return error.message
  const hint = error instanceof HttpError ? relayerTlsHint(String(error.meta['reason']), caFile) : undefined
  if (hint !== undefined) return `${messageOf(error)}: ${hint}`
  const status = error instanceof HttpError ? error.status : undefined
  const meaning = meaningOf(error)
  if (meaning !== undefined) return `${messageOf(error)}: ${meaning}`
  if (status === 401 || status === 403)
    return `${messageOf(error)}: the token in RELAYER_ENDPOINT is missing, unknown to the relayer, or not one of a sidecar`
  return `${messageOf(error)}: is the relayer running, and RELAYER_ENDPOINT right?`
}

const LIST_ROUTES: Readonly<Record<ListName, { path: string }>> = {
  exits: routes.getExits,
  validators: routes.getValidators,
}

const askFor = ({ path }: { path: string }, signal: AbortSignal) =>
  ({ method: 'GET', path, query: {}, extraMs: 0, signal }) as const

async function findLists(ask: Requests, signal: AbortSignal): Promise<ListName[]> {
  const accepts = (status: number) => (status >= 200 && status < 300) || status === 404 || status === 405
  const known = await Promise.all(
    LISTS.map(async (list) => (await ask(askFor(LIST_ROUTES[list], signal), { accepts })).status < 300),
  )
  return LISTS.filter((_, position) => known[position])
}

/** How far the sender's clock is ahead of ours; undefined without a `Date`. */
function clockDifference({ headers }: HttpAnswer): number | undefined {
  const date = Date.parse(headers.get('date') ?? '')
  // The header has whole seconds, cut off.
  return Number.isNaN(date) ? undefined : date + 500 - Date.now()
}

async function parse(answer: HttpAnswer): Promise<unknown> {
  try {
    return await parseAnswer(answer)
  } catch {
    return undefined
  }
}

/** The consensus nodes: on our chain, in step with the clock? */
export async function examineConsensus({ consensus, network }: SidecarConfig): Promise<Finding> {
  if (consensus === undefined)
    return finding(
      'consensus',
      'unused',
      'CONSENSUS_ENDPOINT is not set: exits are signed for whatever validator index the relayer names; one for a wrong index exits nobody',
    )
  const { endpoints, timeoutMs } = consensus
  const looks = await Promise.all(endpoints.map((endpoint) => lookAtConsensusNode(endpoint, { timeoutMs, network })))
  return endpointsFinding('consensus', looks)
}

/** The execution nodes of an SSV operator: on our chain, and not stopped? */
export async function examineExecution({ ssv, network }: SidecarConfig, signal: AbortSignal): Promise<Finding> {
  const chain = ssv?.chain
  if (chain === undefined)
    return finding('execution', 'unused', 'no execution node is needed: key shares are not looked for on the chain')
  const { endpoints, timeoutMs } = chain
  const ask = { timeoutMs, network }
  const looks = await Promise.all(endpoints.map((endpoint) => lookAtExecutionNode(endpoint, ask, signal)))
  return endpointsFinding('execution', looks)
}

/** The remote signers: does each let us in, and how many keys has it? */
export async function examineSigners(
  { remoteSigner, keymanager }: SidecarConfig,
  signal: AbortSignal,
): Promise<Finding> {
  if (keymanager !== undefined) return examineKeymanager(keymanager, signal)
  if (remoteSigner === undefined) return finding('signer', 'unused', 'REMOTE_SIGNER_URL is not set: the keys are here')
  const { urls, timeoutMs } = remoteSigner
  let tls: TlsMaterial
  try {
    tls = readTlsMaterial(remoteSigner.tls)
  } catch (error) {
    return finding('signer', 'problem', messageOf(error))
  }
  const look = async (url: URL): Promise<EndpointLook> => {
    await using http = await createSignerHttp(url, { timeoutMs, connections: 1, tls })
    try {
      await askWhetherUp(http, signal)
      const { size } = await askPublicKeys(http, signal)
      return { host: http.host, words: `${http.host} holds ${count(size, 'key')}`, facts: { keys: size } }
    } catch (error) {
      return { host: http.host, words: '', problem: `${messageOf(error)} (REMOTE_SIGNER_URL)` }
    }
  }
  const found = endpointsFinding('signer', await Promise.all(urls.map(look)))
  const { certEndsAt } = tls
  if (certEndsAt === undefined || certEndsAt - Date.now() > MONTH_MS) return found
  const day = new Date(certEndsAt).toISOString().slice(0, 10)
  const isOver = certEndsAt < Date.now()
  const detail = `the client certificate (REMOTE_SIGNER_CERT_FILE) ${isOver ? 'expired' : 'expires'} on ${day}: renew it`
  const status = isOver ? 'problem' : found.status === 'good' ? 'warning' : found.status
  return { ...found, status, details: [...found.details, detail] }
}

/** The validator client: does it let us in, and how many keys has it? */
async function examineKeymanager(keymanager: KeymanagerConfig, signal: AbortSignal): Promise<Finding> {
  await using http = await createSignerHttp(keymanager.url, { ...keymanagerOptions(keymanager), connections: 1 })
  const { host, title } = http
  try {
    const { size } = await askClientKeys(http, signal)
    const words = `the ${title} holds ${count(size, 'key')}; it signs exits of validators that the chain knows, and no deposits`
    return endpointsFinding('signer', [{ host, words, facts: { keys: size } }])
  } catch (error) {
    return endpointsFinding('signer', [
      { host, words: '', problem: `${messageOf(error)} (KEYMANAGER_URL, KEYMANAGER_TOKEN)` },
    ])
  }
}
