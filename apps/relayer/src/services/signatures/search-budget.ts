/**
 * How much is searched among candidates that nobody can verify: attempts that a message, and all messages of one requester, may use. Who
 * invents candidates makes searches long, never others wait for long.
 *
 * What has been tried whole is tried again only when something new came. What is too much to be tried whole is tried on for ever, less and
 * less often, a part of it chosen anew by chance each time: enough right candidates are found, however many are invented around them, sooner
 * or later, and soon after something new came.
 */

/** Attempts of one search: every choice of the largest usual cluster, so none is begun that could not try them all. */
export const SEARCH_ATTEMPTS = 1000
/** Attempts at once, and each second; of some milliseconds each. */
const OF_MESSAGE = { burst: 2 * SEARCH_ATTEMPTS, perSecond: 20 }
const OF_REQUESTER = { burst: 20 * SEARCH_ATTEMPTS, perSecond: 100 }
/**
 * Attempts in vain of jobs, which others wait behind, at crowds and at all else of a requester: where they are used up a message is tried
 * once, and then searched for.
 */
const IN_VAIN = { burst: SEARCH_ATTEMPTS / 2, perSecond: 20 }
/** How long a message whose candidates are the same rests after a search in vain; twice as long after each, an hour at most. */
const REST_MS = { first: 50_000, most: 3_600_000 }
/** Messages and requesters that are remembered; forgotten ones begin anew. */
const REMEMBERED = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** Buckets by key; those not used for longest are forgotten. */
function createBuckets<K>({ burst, perSecond }: { burst: number; perSecond: number }) {
  const buckets = new Map<K, Bucket>()
  /** What the bucket holds now. */
  function refill(key: K, now: number): Bucket {
    const { tokens, at } = buckets.get(key) ?? { tokens: burst, at: now }
    const bucket = { tokens: Math.min(burst, tokens + ((now - at) / 1000) * perSecond), at: now }
    remember(buckets, key, bucket)
    return bucket
  }
  return {
    left: (key: K, now: number): number => refill(key, now).tokens,
    spend(key: K, count: number, now: number): void {
      refill(key, now).tokens -= count
    },
  }
}

/** A message that is searched: who asks for it, and a digest of the candidates and hints there are. */
export interface Searched {
  messageId: number
  requester: string | null
  among: string
  /** Whether there are more share indexes than any cluster has. */
  isCrowd: boolean
}

/** Crowds are somebody's invention: what they use up is nothing to the requester's other messages. */
const triesOf = ({ requester, isCrowd }: Searched): string => `${isCrowd} ${requester}`

/** Remembers a value as the newest, and forgets the oldest one. */
function remember<K, V>(values: Map<K, V>, key: K, value: V): void {
  values.delete(key)
  values.set(key, value)
  const [oldest] = values.keys()
  if (values.size > REMEMBERED && oldest !== undefined) values.delete(oldest)
}

/** Creates the budget of one process. Times are milliseconds of one monotonic clock. */
export function createSearchBudget() {
  const ofMessage = createBuckets<number>(OF_MESSAGE)
  const ofRequester = createBuckets<string | null>(OF_REQUESTER)
  const inVain = createBuckets<string>(IN_VAIN)
  /** Of messages, what a job has tried a part of, in vain. */
  const begun = new Map<number, string>()
  /** Of messages that were searched in vain, among what, how often, and until when they rest. */
  const resting = new Map<number, { among: string; times: number; until: number }>()
  /** Of messages, what was tried whole in vain. */
  const tried = new Map<number, string>()

  return {
    /** Whether all of it was tried before. */
    isTried: ({ messageId, among }: Searched): boolean => tried.get(messageId) === among,
    /** Whether a search may begin. */
    isFree: ({ messageId, requester }: Searched, now: number): boolean =>
      Math.min(ofMessage.left(messageId, now), ofRequester.left(requester, now)) >= SEARCH_ATTEMPTS,
    /** A search of so many attempts, more than there are for a crowd, began. */
    began({ messageId, requester }: Searched, now: number, attempts = SEARCH_ATTEMPTS): void {
      ofMessage.spend(messageId, attempts, now)
      ofRequester.spend(requester, attempts, now)
    },
    /** All was tried, in vain. */
    triedAll({ messageId, among }: Searched): void {
      remember(tried, messageId, among)
    },
    /** A part was searched, in vain. */
    searchedInVain({ messageId, among }: Searched, now: number): void {
      const before = resting.get(messageId)
      const times = before?.among === among ? before.times + 1 : 1
      remember(resting, messageId, {
        among,
        times,
        until: now + Math.min(REST_MS.most, REST_MS.first * 2 ** (times - 1)),
      })
    },
    /** Whether nothing new came since it was searched in vain, not long ago. */
    isResting({ messageId, among }: Searched, now: number): boolean {
      const rest = resting.get(messageId)
      return rest?.among === among && now < rest.until
    },
    /** Whether a job has tried some of it before, in vain: the rest is for a search. */
    wasBegun: ({ messageId, among }: Searched): boolean => begun.get(messageId) === among,
    /** Whether a job may try some of it. */
    mayTry: (searched: Searched, now: number): boolean => inVain.left(triesOf(searched), now) > 0,
    /** A job has made so many attempts, in vain. */
    hasTried(searched: Searched, now: number, attempts: number): void {
      inVain.spend(triesOf(searched), attempts, now)
      remember(begun, searched.messageId, searched.among)
    },
  }
}
