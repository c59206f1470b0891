/**
 * `npm run relayer -- take-bundle`: hands a signed bundle in, the way a sidecar does. What the relayer asks for no more, or with other
 * words, is left out and said; what it has already is not sent again: a bundle may be handed in as often as one likes.
 */

import { parseArgs } from 'node:util'
import { BUNDLE_EXIT_CODES, BundleError, readSignedBundle, type SignedBundle } from '@dvt-relayer/api/bundle.ts'
import type { RelayerClient } from '@dvt-relayer/api/client.ts'
import type { SharesResponse } from '@dvt-relayer/api/schemas.ts'
import { createSplitPosts, isTooLarge, TOO_LARGE } from '@dvt-relayer/client/split-posts.ts'
import { count } from '@dvt-relayer/common/findings.ts'
import { COMMANDS, usageError, usageOf } from '../usage.ts'
import { type Asked, type AskedNow, askLists } from './asked.ts'
import { commandOfBundle } from './exit-code.ts'
import { assertServes, openRelayer } from './relayer.ts'

/** Of one post. */
const MOST_ITEMS = 500

/** What becomes of an item: it is handed in, there already, asked for with other words, or not at all. */
type Fate = 'due' | 'there' | 'moved' | 'unwanted'

/** Numbers of validators. */
interface Tally {
  taken: number
  there: number
  moved: number
  unwanted: number
  /** By the relayer's code. */
  refused: Map<string, number>
  /** The bytes of posts of one validator that were too large. */
  tooLarge: number[]
}

/** Runs the command. Returns an exit code: 0 where the relayer has all of the bundle. */
export const takeBundleCommand = commandOfBundle(async (args, signal) => {
  const { values } = parseArgs({ args: [...args], options: COMMANDS['take-bundle'].options })
  if (values.in === '')
    throw usageError('take-bundle wants the signed bundle: --in signed.json', usageOf('take-bundle'))
  const bundle = await readSignedBundle(values.in)
  const relayer = await openRelayer(values.relayer, values['token-file'])
  await assertServes(relayer, bundle, signal)
  const tally: Tally = { taken: 0, there: 0, moved: 0, unwanted: 0, refused: new Map(), tooLarge: [] }
  const asked = await askLists(relayer, bundle.share_index, signal)
  const { pairs, exits } = sortOut(bundle, asked, tally)
  const index = bundle.share_index
  await handIn(pairs, (shares) => relayer.postSignatures({ share_index: index, shares }, signal), tally)
  await handIn(exits, (shares) => relayer.postExitSignature({ share_index: index, shares }, signal), tally)
  return tell(values.in, tally)
})

/** What is to be posted, and the count of what is not. */
function sortOut(
  bundle: SignedBundle,
  asked: AskedNow,
  tally: Tally,
): {
  pairs: Parameters<RelayerClient['postSignatures']>[0]['shares']
  exits: Parameters<RelayerClient['postExitSignature']>[0]['shares']
} {
  const due = <Item>(item: Item, fate: Fate): Item[] => {
    if (fate !== 'due') tally[fate]++
    return fate === 'due' ? [item] : []
  }
  const pairs = bundle.validators.flatMap((item) =>
    due(item, fateOf(item, asked.validators.get(item.public_key), isSameValidator)),
  )
  // The very same exit may stand in both lists; what is said of it counts once.
  const idOf = (item: ExitWords) => `${item.public_key}:${item.validator_index}`
  const counted = new Set(bundle.validators.map(idOf))
  const exits = bundle.exits
    .filter((item) => !counted.has(idOf(item)))
    .flatMap((item) => due(item, fateOf(item, asked.exits.get(item.public_key), isSameExit)))
  return {
    pairs: pairs.map(({ public_key, exit_signature, deposit_signature, public_key_shares }) => ({
      ...{ public_key, exit_signature, deposit_signature, public_key_shares },
    })),
    exits: exits.map(({ public_key, exit_signature }) => ({ public_key, exit_signature })),
  }
}

type ExitWords = Pick<SignedBundle['exits'][number], 'public_key' | 'validator_index'>
type ValidatorWords = SignedBundle['validators'][number]

function fateOf<Item, Now>(item: Item, now: Asked<Now> | undefined, isSame: (item: Item, now: Now) => boolean): Fate {
  if (now === undefined) return 'unwanted'
  if (!isSame(item, now.item)) return 'moved'
  return now.standing === 'settled' ? 'there' : 'due'
}

const isSameExit = (item: Pick<ExitWords, 'validator_index'>, now: Pick<ExitWords, 'validator_index'>): boolean =>
  item.validator_index === now.validator_index

const isSameValidator = (
  item: ValidatorWords,
  now: Pick<ValidatorWords, 'validator_index' | 'vault' | 'amount' | 'validator_type'>,
): boolean =>
  isSameExit(item, now) &&
  item.vault === now.vault &&
  item.amount === now.amount &&
  item.validator_type === now.validator_type

/** Posts in parts, one after the other, and counts what the relayer says of them. @throws {HttpError} */
async function handIn<Share>(
  shares: readonly Share[],
  post: (batch: Share[]) => Promise<SharesResponse>,
  tally: Tally,
): Promise<void> {
  const inParts = createSplitPosts<Share>({
    wordsOf: (share) => share,
    mostItems: MOST_ITEMS,
    onTooLarge: (_, bytes) => console.error(`${TOO_LARGE} (${bytes} bytes)`),
  })
  await inParts(shares, async ({ items, bytes }) => {
    try {
      countPosted(await post([...items]), items.length, tally)
    } catch (error) {
      if (!isTooLarge(error)) throw error
      if (items.length > 1) return 'too_large'
      tally.tooLarge.push(bytes)
    }
    return 'done'
  })
}

/** Counts what the relayer says of a post of so many. */
function countPosted({ failures = [] }: SharesResponse, posted: number, tally: Tally): void {
  const codes = new Map<number, string>()
  for (const { index, code } of failures)
    if (index < posted && !codes.has(index))
      // A code is a word of the relayer's: nothing else of its text is shown.
      codes.set(index, /^[A-Z][A-Z0-9_]{0,39}$/.test(code) ? code : 'OTHER')
  for (const code of codes.values()) tally.refused.set(code, (tally.refused.get(code) ?? 0) + 1)
  tally.taken += posted - codes.size
}

/** Says what became of a bundle. Returns the exit code. @throws {BundleError} BUNDLE_OLD, BUNDLE_REFUSED */
function tell(file: string, { taken, there, moved, unwanted, refused, tooLarge }: Tally): number {
  const wrong = [...refused.values()].reduce((sum, one) => sum + one, 0)
  const lines = [
    ...(there === 0 ? [] : [`${count(there, 'validator')}: the relayer has these signatures already`]),
    ...(moved === 0
      ? []
      : [`${count(moved, 'validator')} left out: asked for at another index, vault, amount or type by now`]),
    ...(unwanted === 0 ? [] : [`${count(unwanted, 'validator')} left out: not asked for any more`]),
    ...Array.from(refused, ([code, items]) => `${count(items, 'validator')} refused by the relayer: ${code}`),
    ...(tooLarge.length === 0
      ? []
      : [
          `${count(tooLarge.length, 'validator')} refused as too large (413), alone in a post of up to ${Math.max(...tooLarge)} bytes: the relayer or a proxy before it takes less; raise its limit, client_max_body_size in nginx, and hand the bundle in again`,
        ]),
  ].map((line) => `  ${line}`)
  const all = (text: string) => [`${file}: ${text}`, ...lines].join('\n')
  if (taken === 0 && wrong > 0)
    throw new BundleError('BUNDLE_REFUSED', all('nothing was taken: are these the keys of this node and cluster?'))
  if (taken === 0 && tooLarge.length > 0) throw new BundleError('BUNDLE_REFUSED', all('nothing was taken'))
  if (taken === 0 && moved + unwanted > 0)
    throw new BundleError('BUNDLE_OLD', all('is old: nothing was handed in; make a new bundle'))
  console.log(all(`${count(taken, 'validator')} handed in`))
  return wrong + moved + unwanted + tooLarge.length > 0 ? BUNDLE_EXIT_CODES.BUNDLE_PARTIAL : 0
}
