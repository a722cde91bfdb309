"""Feature strategies by their definitions: plain loops, nothing shared but sums.

Rows number the slices of all volumes one after another, as in the strategies.
"""

import math


def flatten(view):
    """All slices: volume of each, and features of each."""
    volumes = [v for v, rows in enumerate(view.features) for _ in rows]
    return volumes, [[float(x) for x in row] for rows in view.features for row in rows]


def unit(row):
    length = math.sqrt(math.fsum(x * x for x in row))
    return [x / length for x in row] if length else list(row)


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return round(dot(unit(a), unit(b)), 12)


def squared(a, b):
    """Squared distance of the unit vectors."""
    a, b = unit(a), unit(b)
    return round(math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)), 12)


def ball(rows):
    count, columns = len(rows), range(len(rows[0]))
    mean = [math.fsum(row[c] for row in rows) / count for c in columns]
    moved = [[row[c] - mean[c] for c in columns] for row in rows]
    longest = max(math.sqrt(dot(row, row)) for row in moved) or 1.0
    return [[x / longest for x in row] for row in moved]


def distance(a, b):
    return round(math.dist(a, b), 12)


def may_pick(row, picked, volumes, quotas):
    full = sum(volumes[p] == volumes[row] for p in picked) >= quotas[volumes[row]]
    return row not in picked and not full


def by_volume(view, picked):
    starts = [sum(view.depths[:v]) for v in range(len(view.depths))]
    return [
        sorted(p - start for p in picked if start <= p < start + depth)
        for start, depth in zip(starts, view.depths, strict=True)
    ]


def greedy(volumes, quotas, budget, gain):
    """Picks the open row of the largest gain, ties to the lowest, again and again."""
    picked = []
    while len(picked) < budget:
        best, highest = None, -math.inf
        for row in range(len(volumes)):
            if may_pick(row, picked, volumes, quotas):
                value = round(gain(row, picked), 9)
                if value > highest:
                    best, highest = row, value
        picked.append(best)
    return picked


def covering(rows, kernel, floor):
    def gain(row, picked):
        total = []
        for other in rows:
            before = max((kernel(rows[p], other) for p in picked), default=floor)
            total.append(max(kernel(rows[row], other) - before, 0.0))
        return math.fsum(total)

    return gain


def facility_location(view, quotas, budget, seed):
    volumes, rows = flatten(view)
    gain = covering(rows, cosine, -1.0)
    return by_volume(view, greedy(volumes, quotas, budget, gain))


def max_herding(view, quotas, budget, seed):
    volumes, rows = flatten(view)
    gain = covering(rows, lambda a, b: round(math.exp(-squared(a, b)), 12), 0.0)
    return by_volume(view, greedy(volumes, quotas, budget, gain))


def rep_div(view, quotas, budget, seed):
    volumes, rows = flatten(view)

    def score(row, picked):
        mean = math.fsum(cosine(rows[row], other) for other in rows) / len(rows)
        alike = [cosine(rows[row], rows[p]) for p in picked]
        return round(mean, 9) - max(alike, default=-1.0)

    return by_volume(view, greedy(volumes, quotas, budget, score))


def ward(rows, count):
    """Joins the two clusters whose union adds least squared spread (Ward 1963)."""
    rows = [unit(row) for row in rows]

    def spread(members):
        columns = range(len(rows[0]))
        mean = [math.fsum(rows[m][c] for m in members) / len(members) for c in columns]
        return math.fsum(math.dist(rows[m], mean) ** 2 for m in members)

    clusters = [[row] for row in range(len(rows))]
    while len(clusters) > count:
        costs = {
            (a, b): spread(one + other) - spread(one) - spread(other)
            for a, one in enumerate(clusters)
            for b, other in enumerate(clusters)
            if a < b
        }
        a, b = min(costs, key=costs.get)
        clusters[a] = sorted(clusters[a] + clusters.pop(b))
    return sorted(clusters, key=lambda members: (-len(members), members[0]))


def representative(view, quotas, budget, seed):
    volumes, rows = flatten(view)
    clusters = ward(rows, max(1, budget // 2))
    picked, own = [], [[] for _ in clusters]
    while len(picked) < budget:
        for members, mine in zip(clusters, own, strict=True):
            gain = covering([rows[m] for m in members], cosine, -1.0)
            free = [
                at
                for at, row in enumerate(members)
                if may_pick(row, picked, volumes, quotas)
            ]
            if free and len(picked) < budget:
                best = max(free, key=lambda at: (round(gain(at, mine), 9), -at))
                mine.append(best)
                picked.append(members[best])
    return by_volume(view, picked)


def purity(rows, names, radius):
    """Share of open balls that hold one pseudo-label only."""
    pure = [
        all(
            names[i] == names[j]
            for j in range(len(rows))
            if squared(rows[i], rows[j]) < radius
        )
        for i in range(len(rows))
    ]
    return sum(pure) / len(rows)


def largest_pure_radius(rows, names):
    candidates = {squared(a, b) for a in rows for b in rows} | {math.inf}
    return max(r for r in candidates if purity(rows, names, r) >= 0.95)


def probcover(view, quotas, budget, clusters):
    volumes, rows = flatten(view)
    names = {row: name for name, members in enumerate(clusters) for row in members}
    radius = largest_pure_radius(rows, names)

    def covers(row):
        return {
            i
            for i, other in enumerate(rows)
            if squared(rows[row], other) < radius or squared(rows[row], other) == 0.0
        }

    picked, covered = [], set()
    while len(picked) < budget:
        allowed = [
            row for row in range(len(rows)) if may_pick(row, picked, volumes, quotas)
        ]
        if not any(covers(row) - covered for row in allowed):
            covered = set()
        best = max(allowed, key=lambda row: (len(covers(row) - covered), -row))
        picked.append(best)
        covered |= covers(best)
    return by_volume(view, picked)


def in_turns(view, quotas, budget, queues):
    """The first open row of every queue in turn, round after round."""
    volumes, _ = flatten(view)
    picked = []
    while len(picked) < budget:
        for queue in queues:
            free = [row for row in queue if may_pick(row, picked, volumes, quotas)]
            if free and len(picked) < budget:
                picked.append(free[0])
    return by_volume(view, picked)


def typiclust(view, quotas, budget, clusters):
    _, rows = flatten(view)

    def mean_distance(row, members):
        far = sorted(
            round(math.sqrt(squared(rows[row], rows[other])), 12)
            for other in members
            if other != row
        )[:20]
        return round(math.fsum(far) / len(far), 8) if far else 0.0

    queues = [
        sorted(members, key=lambda row, m=members: (mean_distance(row, m), row))
        for members in clusters
    ]
    return in_turns(view, quotas, budget, queues)


def k_means(view, quotas, budget, clusters):
    _, rows = flatten(view)
    rows = ball(rows)

    def columns(members):
        return zip(*(rows[m] for m in members), strict=True)

    def from_centre(row, members):
        columns = range(len(rows[0]))
        centre = [
            math.fsum(rows[m][c] for m in members) / len(members) for c in columns
        ]
        return round(math.dist(rows[row], centre), 9)

    queues = [
        sorted(members, key=lambda row, m=members: (from_centre(row, m), row))
        for members in clusters
    ]
    return in_turns(view, quotas, budget, queues)


def k_medoids(view, quotas, budget, seed):
    volumes, rows = flatten(view)
    rows = ball(rows)
    gain = covering(rows, lambda a, b: -distance(a, b), -2.0)
    medoids = sorted(greedy(volumes, quotas, budget, gain))
    while True:
        group = [
            row
            if row in medoids
            else min(medoids, key=lambda m, r=row: (distance(rows[m], rows[r]), m))
            for row in range(len(rows))
        ]
        after = list(medoids)
        for place, medoid in enumerate(medoids):
            members = [row for row in range(len(rows)) if group[row] == medoid]
            sums = {
                a: round(math.fsum(distance(rows[a], rows[b]) for b in members), 9)
                for a in members
            }
            others = after[:place] + after[place + 1 :]
            allowed = [a for a in members if may_pick(a, others, volumes, quotas)]
            best = min(allowed, key=lambda a: (sums[a], a))
            if sums[best] < sums[medoid]:
                after[place] = best
        if sorted(after) == medoids:
            return by_volume(view, medoids)
        medoids = sorted(after)
