/** The relayer as the sidecar sees it: untrusted. Answers are bounded in size, checked, and freed of items no protocol allows. */

import { ContractError, createRelayerClient, type RelayerClient, type Send } from '@dvt-relayer/api/client.ts'
import { routes } from '@dvt-relayer/api/routes.ts'
import { ExitItem, ValidatorItem } from '@dvt-relayer/api/schemas.ts'
import type { Authenticate } from '@dvt-relayer/client/authentication.ts'
import { isVerdict, readVerdict } from '@dvt-relayer/client/verdict.ts'
import { mapInPieces } from '@dvt-relayer/common/flow/rounds.ts'
import { type HttpOutcome, outcomeOf, parseAnswer } from '@dvt-relayer/common/http/client.ts'
import { PIECES } from '@dvt-relayer/common/json/pieces.ts'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { SidecarConfig } from '../config.ts'
import type { Events } from '../events.ts'
import type { RelayerRequest } from '../metrics.ts'
import { withMeaning } from './identity.ts'
import { findRelayer, openRelayer } from './relayer-http.ts'

/**
 * A list of a relayer without pages has all validators that it gathers for, so beside our own there is room for those of other clusters:
 * this many, and a hundred times as many as we hold.
 */
const OTHERS = 20_000
const OTHERS_FOR_EACH = 100
/** An item of generation 4 with the indexes of thirteen SSV nodes is some 550 bytes, and 30 values. */
const ITEM_BYTES = 640
const ITEM_VALUES = 40
/** About 100,000 items, whatever is held. */
const MOST_LIST_BYTES = 64 * 1024 * 1024
/** What is said of a post: a few values for each item of the batch. */
const ANSWER = { maxBytes: 4 * 1024 * 1024, maxValues: 100_000 }

/** How much of a list is read: by the key shares held, so that a relayer cannot make a small sidecar build a large thing. */
function listBounds(keySharesHeld: number) {
  const items = OTHERS + OTHERS_FOR_EACH * keySharesHeld
  const maxBytes = Math.min(MOST_LIST_BYTES, items * ITEM_BYTES)
  return { maxBytes, maxValues: Math.ceil(maxBytes / ITEM_BYTES) * ITEM_VALUES }
}

/** Items that are looked at before whoever else waits has a turn: a millisecond. */
const ITEMS_AT_ONCE = 500

const REQUESTS: Readonly<Record<string, RelayerRequest>> = {
  [routes.getInfo.path]: 'info',
  [routes.getWhoami.path]: 'whoami',
  [routes.getExits.path]: 'exits',
  [routes.getValidators.path]: 'validators',
  [routes.postExitSignature.path]: 'exit_signature',
  [routes.postSignatures.path]: 'signatures',
}

/** The field of a list's answer that holds its items, and what an item must be. */
const LISTS: Readonly<Record<string, { field: string; isItem: (item: unknown) => boolean }>> = {
  [routes.getExits.path]: { field: 'exits', isItem: checkOf(ExitItem) },
  [routes.getValidators.path]: { field: 'validators', isItem: checkOf(ValidatorItem) },
}

function checkOf(schema: TSchema): (item: unknown) => boolean {
  const check = Compile(schema)
  return (item) => check.Check(item)
}

/**
 * Creates the client. Credentials in the endpoint's URL become Basic authentication, else what `identify` gives for it shows who asks; redirects
 * are refused. `keySharesHeld` bounds the lists.
 *
 * @throws {BootError} RELAYER_CA_INVALID, RELAYER_ENDPOINT_INVALID, ENR_KEY_UNREADABLE
 */
export async function createRelayer(
  config: SidecarConfig['relayer'],
  events: Events,
  keySharesHeld: () => number,
  identify: (endpoint: URL) => Promise<Authenticate | undefined> = async () => undefined,
): Promise<RelayerClient & { renew(): Promise<void> }> {
  let found = await findRelayer(config)
  let ask = await openRelayer(found, await identify(found.endpoint), ANSWER)
  /** Which relayer each list was last had from: revisions are its own. */
  const hadFrom = new Map<string, string>()
  const send: Send = async (asking) => {
    const { method, path, query } = asking
    const request = REQUESTS[path] ?? 'info'
    const list = method === 'GET' ? LISTS[path] : undefined
    const asked = `${found.endpoint.origin}${found.endpoint.pathname}`
    const goesOn = query['after'] !== undefined || query['from'] !== undefined
    if (list !== undefined && goesOn && hadFrom.get(path) !== asked)
      throw new ContractError('RELAYER_ANSWER_INVALID', `${path} is of another relayer now, and asked for anew`)
    const start = performance.now()
    let outcome: HttpOutcome = 'ok'
    try {
      const answer = await ask(asking, {
        ...(method === 'GET' ? {} : { accepts: isVerdict }),
        ...(list === undefined ? {} : listBounds(keySharesHeld())),
      })
      if (method === 'POST') return await readVerdict(path, answer)
      const value = await parseAnswer(answer, PIECES.item)
      if (list !== undefined) hadFrom.set(path, asked)
      return list === undefined ? value : await withoutStrangeItems(value, list, events)
    } catch (error) {
      outcome = outcomeOf(error)
      throw withMeaning(error)
    } finally {
      if (outcome !== 'aborted') events.relayerAsked(request, outcome, (performance.now() - start) / 1000)
    }
  }
  return Object.assign(createRelayerClient(send), {
    /** Takes over another endpoint, token or CA where the files that name them have changed. @throws {BootError} they stay as they were */
    async renew(): Promise<void> {
      const now = await findRelayer(config)
      if (now.endpoint.href === found.endpoint.href && now.ca === found.ca) return
      // A signature names the relayer it is for, and a token goes before it.
      ask = await openRelayer(now, await identify(now.endpoint), ANSWER)
      found = now
    },
  })
}

/**
 * A list without the items that are not what the protocol says, so that one of them does not hide the others: existing relayers
 * store keys off the curve, share index 0, negative indexes and other spellings, whoever posts them.
 */
async function withoutStrangeItems(
  answer: unknown,
  { field, isItem }: { field: string; isItem: (item: unknown) => boolean },
  events: Events,
): Promise<unknown> {
  if (typeof answer !== 'object' || answer === null) return answer
  const { [field]: list, revision, ...rest } = answer as Record<string, unknown>
  if (!Array.isArray(list)) return answer
  const checked = await mapInPieces(list, ITEMS_AT_ONCE, (item) => {
    const good = withGoodIndexes(item)
    return isItem(good) ? [good] : []
  })
  const items = checked.flat()
  if (items.length < list.length) events.itemsDropped(list.length - items.length)
  const isRevision = Number.isSafeInteger(revision) && Number(revision) >= 0
  // A page has to say what it is in every field: a wrong one is no item to be left out.
  const isPage = typeof rest['whole'] === 'boolean' && isRevision
  return { ...(isPage ? rest : {}), [field]: items, ...(isRevision ? { revision } : {}) }
}

const INDEX_LISTS = ['share_indexes_ready', 'share_indexes_unverified', 'share_indexes_rejected'] as const

/** The item without share indexes that cannot be: they are other nodes' business. */
function withGoodIndexes(item: unknown): unknown {
  if (typeof item !== 'object' || item === null) return item
  const fields: Record<string, unknown> = { ...item }
  for (const name of INDEX_LISTS) {
    const list = fields[name]
    if (Array.isArray(list) && !list.every(isShareIndex)) fields[name] = list.filter(isShareIndex)
  }
  return fields
}

const isShareIndex = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1
