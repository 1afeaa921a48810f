"""Which tests hold the rows of the fault matrix that services met at the edges: inputs, outputs, migrations.

Each row names the tests that fail when its fault comes back. A name that no test has any more fails here.
"""

import ast
from functools import cache

import pytest

from tests.servers import ROOT

ROWS: dict[int, tuple[str, ...]] = {
    # Units of work, aggregates, streams and settings.
    141: ("faults/test_promises.py::test_a_success_was_committed_and_a_failure_left_nothing",),
    142: (
        "data/test_aggregates.py::test_of_eight_that_saw_one_version_one_writes",
        "data/test_schemas_nested.py::test_one_of_eight_replacements_under_a_tag_wins",
        "data/test_schemas_nested.py::test_eight_additions_without_a_tag_all_succeed",
    ),
    143: ("faults/test_database_streams.py::test_a_hundred_thousand_rows_are_streamed_in_constant_memory",),
    144: (
        "data/test_unit_savepoints.py::test_callbacks_go_with_their_savepoint",
        "data/test_unit_savepoints.py::test_signals_go_with_their_savepoint",
    ),
    145: ("data/test_unit_savepoints.py::test_a_second_transaction_on_sqlite_is_an_error_at_once",),
    155: (
        "settings/test_libpq.py::test_every_parameter_of_libpq_is_known",
        "settings/test_libpq.py::test_refused_by_name",
    ),
    157: (
        "data/test_models_moments.py::test_moments_and_durations_are_added",
        "data/test_models_moments.py::test_the_clock_of_the_database_is_shifted",
    ),
    159: ("settings/test_environments.py::test_testing_takes_only_arguments",),
    167: (
        "settings/test_model_copies.py::test_rules_hold_whoever_made_the_settings",
        "settings/test_model_copies.py::test_cli_does_not_serve",
    ),
    168: ("faults/test_database_time.py::test_silent_database_is_504_on_an_open_connection",),
    169: ("upstream/test_failures.py::test_redirects_stay_below_the_address",),
    # Inputs, outputs, documents, migrations and types.
    146: (
        "web/test_inputs_sources.py::test_texts_are_read_by_annotation",
        "web/test_inputs_sources.py::test_the_document_has_the_schemas_of_the_path",
    ),
    147: ("web/test_inputs_sources.py::test_every_source_of_text_reads_enumerations",),
    148: (
        "web/test_filters_related.py::test_a_statement_must_select_from_what_is_compared",
        "web/test_filters_related.py::test_an_order_must_be_of_what_is_selected_from",
    ),
    149: (
        "web/test_pointers.py::test_a_column_leads_to_the_member",
        "web/test_pointers.py::test_a_bulk_import_names_its_row",
        "web/test_pointers.py::test_what_was_not_sent_has_no_pointer",
    ),
    150: (
        "web/test_inputs_sources.py::test_an_empty_file_input_is_absent",
        "web/test_inputs_sources.py::test_a_part_in_json_is_a_model",
    ),
    151: (
        "web/test_output.py::test_a_named_tuple_is_a_value",
        "web/test_output.py::test_a_tuple_of_another_form_is_refused",
        "web/test_output.py::test_each_status_has_its_own_schema",
    ),
    152: ("web/test_core_schemas.py::test_a_closed_schema_refuses_unknown_keys_at_any_depth",),
    153: ("web/test_inputs_sources.py::test_operation_above_the_route_is_refused",),
    154: (
        "data/test_migrations_kinds.py::test_identity_as_key",
        "data/test_migrations_kinds.py::test_enum_gets_labels",
        "data/test_migrations_kinds.py::test_enum_in_another_schema",
        "data/test_migrations_kinds.py::test_tables_in_a_circle",
    ),
    156: (
        "data/test_schemas_types.py::test_an_unknown_type_says_what_to_do",
        "data/test_schemas_types.py::test_each_type_of_sqlalchemy_utils_is_supported_or_refused",
    ),
    160: ("cli/test_start_checks.py::test_every_command_refuses",),
    170: ("data/test_schemas_writing_patch.py::test_members_that_are_no_columns_are_optional",),
    171: ("web/test_inputs_sources.py::test_one_handler_on_two_rules",),
    172: ("test_principal.py::test_a_requirement_of_its_own_has_a_name",),
    173: ("data/test_errors.py::test_constraints_without_names_name_their_fields",),
    174: (
        "web/test_inputs_sources.py::test_a_mistake_is_refused_at_import",
        "web/test_inputs_sources.py::test_an_operation_on_a_websocket_is_refused",
    ),
    175: (
        "data/test_reading_kinds.py::test_every_kind_is_read_by_into",
        "data/test_reading_kinds.py::test_a_proxy_of_no_relationship_is_refused_by_name",
    ),
    176: ("web/test_conditional.py::test_a_weak_tag_is_named_as_the_reason",),
    177: ("web/test_inputs_sources.py::test_a_mistake_is_refused_at_import",),
    178: (
        "web/test_inputs_sources.py::test_a_rule_over_several_parameters_names_none",
        "web/test_inputs_sources.py::test_a_text_where_a_file_belongs",
        "web/test_inputs_sources.py::test_a_mistake_keeps_the_app_from_starting",
    ),
    179: ("docs/test_schemas.py::test_names_of_generic_models_are_short",),
    180: ("data/test_migrations_kinds.py::test_sequences_are_made",),
}


@cache
def find_tests(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


@pytest.mark.parametrize("row", ROWS)
def test_every_named_test_is_there(row: int) -> None:
    """A row whose test was renamed or removed is not held by anything."""
    missing = [one for one in ROWS[row] if one.partition("::")[2] not in find_tests(one.partition("::")[0])]

    assert missing == []


def test_no_row_is_left_out() -> None:
    """These are the rows that the two issues name."""
    named = {*range(141, 158), 159, 160, *range(167, 181)}

    assert set(ROWS) == named
