"""Neuronpedia's importer, as far as a folder can tell: its tables, and what its database refuses.

The columns are those of ``apps/webapp/prisma/schema.prisma`` (August 2026): the type, ``?`` where null is allowed,
``!`` where there is no default. ``import_folder`` does what ``apps/webapp/app/api/admin/import/route.ts`` and
``apps/webapp/lib/db/import.ts`` do.
"""

import gzip
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

Row = dict[str, object]

# fmt: off
COLUMNS = {
    "SourceRelease": """
        name:String! visibility:Visibility isNewUi:Boolean featured:Boolean description:String!
        descriptionShort:String? urls:String[] creatorEmail:String? creatorName:String! creatorNameShort:String?
        creatorId:String! defaultSourceSetName:String? defaultSourceId:String? defaultUmapSourceIds:String[]
        createdAt:DateTime
    """,
    "Model": """
        id:String! displayNameShort:String displayName:String creatorId:String! tlensId:String?
        openRouterId:String? dimension:Int? thinking:Boolean visibility:Visibility defaultSourceSetName:String?
        defaultSourceId:String? defaultGraphSourceSetName:String? inferenceEnabled:Boolean instruct:Boolean
        layers:Int! neuronsPerLayer:Int! createdAt:DateTime owner:String! updatedAt:DateTime website:String?
    """,
    "SourceSet": """
        modelId:String! name:String! hasDashboards:Boolean allowInferenceSearch:Boolean visibility:Visibility
        description:String! type:String creatorName:String! urls:String[] creatorEmail:String? creatorId:String!
        releaseName:String? hasGraphs:Boolean graphEnabled:Boolean similarityMatrixEnabled:Boolean
        defaultOfModelId:String? defaultGraphModelId:String? defaultRange:Int defaultShowBreaks:Boolean
        showDfa:Boolean showCorrelated:Boolean showHeadAttribution:Boolean showUmap:Boolean createdAt:DateTime
    """,
    "Source": """
        id:String! modelId:String! hasDashboards:Boolean inferenceEnabled:Boolean saelensConfig:Json?
        saelensRelease:String? saelensSaeId:String? hfRepoId:String? hfFolderId:String? visibility:Visibility
        defaultOfModelId:String? setName:String! creatorId:String! hasUmap:Boolean hasUmapLogSparsity:Boolean
        hasUmapClusters:Boolean num_prompts:Int? num_tokens_in_prompt:Int? dataset:String? notes:String?
        cosSimMatchModelId:String? cosSimMatchSourceId:String? createdAt:DateTime
    """,
    "Neuron": """
        modelId:String! layer:String! index:String! sourceSetName:String? creatorId:String? createdAt:DateTime
        maxActApprox:Float? hasVector:Boolean vector:Float[] vectorLabel:String?
        vectorDefaultSteerStrength:Float? hookName:String? topkCosSimIndices:Int[] topkCosSimValues:Float[]
        neuron_alignment_indices:Int[] neuron_alignment_values:Float[] neuron_alignment_l1:Float[]
        correlated_neurons_indices:Int[] correlated_neurons_pearson:Float[] correlated_neurons_l1:Float[]
        correlated_features_indices:Int[] correlated_features_pearson:Float[] correlated_features_l1:Float[]
        neg_str:String[] neg_values:Float[] pos_str:String[] pos_values:Float[] frac_nonzero:Float
        freq_hist_data_bar_heights:Float[] freq_hist_data_bar_values:Float[] logits_hist_data_bar_heights:Float[]
        logits_hist_data_bar_values:Float[] decoder_weights_dist:Float[] umap_cluster:Int?
        umap_log_feature_sparsity:Float? umap_x:Float? umap_y:Float?
    """,
    "Activation": """
        id:String tokens:String[] dataIndex:String? index:String! layer:String! modelId:String!
        dataSource:String? maxValue:Float! maxValueTokenIndex:Int! minValue:Float! values:Float[]
        dfaValues:Float[] dfaTargetIndex:Int? dfaMaxValue:Float? zQIndices:Int[] zKIndices:Int[] zValues:Float[]
        creatorId:String! createdAt:DateTime lossValues:Float[] logitContributions:String? binMin:Float?
        binMax:Float? binContains:Float? qualifyingTokenIndex:Int?
    """,
    "Explanation": """
        id:String modelId:String! layer:String! index:String! embedding:vector? description:String!
        authorId:String! triggeredByUserId:String? notes:String? scoreV1:Float scoreV2:Float? umap_x:Float?
        umap_y:Float? umap_cluster:Int? umap_log_feature_sparsity:Float? typeName:String?
        explanationModelName:String? createdAt:DateTime updatedAt:DateTime
    """,
}
# fmt: on

CREATOR = "clkht01d40000jv08hvalcvly"  #: the only user of a new database
_FILES = {"release": "SourceRelease", "model": "Model", "sourceset": "SourceSet", "source": "Source"}
_KEYS = {
    "SourceRelease": ("name",),
    "Model": ("id",),
    "SourceSet": ("modelId", "name"),
    "Source": ("modelId", "id"),
    "Neuron": ("modelId", "layer", "index"),
    "Activation": ("id",),
    "Explanation": ("id",),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Int": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
    "DateTime": (str,),
    "Visibility": (str,),
}


@dataclass
class Database:
    """The rows of each table, by their key."""

    tables: dict[str, dict[tuple[object, ...], Row]] = field(default_factory=lambda: {name: {} for name in COLUMNS})

    def rows(self, table: str) -> list[Row]:
        return list(self.tables[table].values())

    def insert(self, table: str, row: Row) -> None:
        """Check a row as the database would, and keep it; on conflict nothing is done."""
        columns = dict(part.split(":") for part in COLUMNS[table].split())
        for name, kind in columns.items():
            value = row.get(name)
            if value is None:
                # A default is taken where the column is not named; a null that is named is a null.
                assert kind.endswith(("?", "[]")) or (name not in row and not kind.endswith("!")), (table, name)
                continue
            self._check_type(kind.rstrip("?!"), value, (table, name))
        self._check_references(table, row)
        self.tables[table].setdefault(tuple(row[name] for name in _KEYS[table]), row)

    @staticmethod
    def _check_type(kind: str, value: object, where: tuple[str, str]) -> None:
        assert kind != "vector", where
        if kind.endswith("[]"):
            assert isinstance(value, list), where
            for one in value:
                Database._check_type(kind[:-2], one, where)
            return
        allowed = _TYPES[kind]
        assert isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool)), (where, value)
        if kind == "DateTime":
            datetime.fromisoformat(str(value))
        if kind == "Visibility":
            assert value in ("PUBLIC", "UNLISTED", "PRIVATE")

    def _check_references(self, table: str, row: Row) -> None:
        for name in ("creatorId", "authorId"):
            assert row.get(name, CREATOR) == CREATOR, (table, name)
        assert row.get("typeName") is None and row.get("explanationModelName") is None  # its tables have none of ours
        model = row.get("modelId")
        assert model is None or (model,) in self.tables["Model"], table
        if table == "SourceSet":
            assert (row["releaseName"],) in self.tables["SourceRelease"]
        if table == "Source":
            assert (model, row["setName"]) in self.tables["SourceSet"]
        if table == "Neuron":
            assert (model, row["layer"]) in self.tables["Source"]
            assert (model, row["sourceSetName"]) in self.tables["SourceSet"]
        if table in ("Activation", "Explanation"):
            assert (model, row["layer"], row["index"]) in self.tables["Neuron"]


def import_folder(folder: Path, database: Database | None = None) -> Database:
    """Import ``exports/<model>/<source>`` of all models and sources under ``folder``."""
    found = Database() if database is None else database
    for source in sorted(path.parent for path in folder.glob("*/*/source.jsonl")):
        for name, table in _FILES.items():
            for line in (source / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                known = {part.split(":")[0] for part in COLUMNS[table].split()}
                assert row.keys() <= known, (table, row.keys() - known)  # Prisma refuses a field that it lacks
                found.insert(table, row)
        assert (source.parent.name, source.name) in found.tables["Source"]
        for name, table in (("features", "Neuron"), ("activations", "Activation"), ("explanations", "Explanation")):
            for path in sorted((source / name).glob("*.jsonl.gz")):
                for row in import_jsonl(gzip.decompress(path.read_bytes()).decode("utf-8"), table):
                    found.insert(table, row)
    return found


def import_jsonl(text: str, table: str) -> list[Row]:
    """``importJsonlString``: the columns are the first line's."""
    lines = text.replace("\\u0000", " ").strip().split("\n")
    first = list(json.loads(lines[0]))
    columns = [part.split(":")[0] for part in COLUMNS[table].split() if part.split(":")[0] in first]
    rows = []
    for line in lines:
        row = json.loads(line)
        assert list(row) == first, "a line has other keys than the first"
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # half characters have no UTF-8
        rows.append({name: row[name] for name in columns})
    return rows
